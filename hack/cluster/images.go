package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stocksync.dev/stocksync/hack/cluster/internal/image"
)

// reference names the image of a Dockerfile target. The tag is not "latest", so that nothing tries to pull it.
func reference(target string) string { return "stocksync.dev/" + target + ":" + imageVersion() }

// imageVersion is the tag of the images, and what their programs say of themselves. The manifests name "dev".
func imageVersion() string { return cmp.Or(os.Getenv("IMAGE_VERSION"), "dev") }

// dockerfiles are the two of this repository: the product's and the cluster's own.
func dockerfiles() ([]*image.File, error) {
	module, err := moduleDir()
	if err != nil {
		return nil, err
	}
	var all []*image.File
	for _, dir := range []string{filepath.Join(module, "..", ".."), module} {
		f, err := image.Parse(filepath.Join(dir, "Dockerfile"), map[string]string{"VERSION": imageVersion()})
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// makeImages writes the archives of the named targets, or of all, into dir.
func makeImages(ctx context.Context, targets []string, dir string) ([]string, error) {
	all, err := dockerfiles()
	if err != nil {
		return nil, err
	}
	known := []string{}
	var archives []string
	for _, f := range all {
		known = append(known, f.Targets...)
		wanted := f.Targets
		if len(targets) > 0 {
			wanted = slices.DeleteFunc(slices.Clone(f.Targets), func(t string) bool { return !slices.Contains(targets, t) })
		}
		if len(wanted) == 0 {
			continue
		}
		fmt.Fprintf(os.Stderr, "making images: %s\n", strings.Join(wanted, ", "))
		made, err := f.Build(ctx, wanted, dir, reference)
		if err != nil {
			return nil, err
		}
		archives = append(archives, made...)
	}
	for _, t := range targets {
		if !slices.Contains(known, t) {
			return nil, fmt.Errorf("no image %q: must be one of %s", t, strings.Join(known, ", "))
		}
	}
	return archives, nil
}

// load makes images and hands them to the cluster.
func load(ctx context.Context, c cluster, targets []string) (err error) {
	dir, err := os.MkdirTemp("", "stocksync-images-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	archives, err := makeImages(ctx, targets, dir)
	if err != nil {
		return err
	}
	for _, a := range archives {
		fmt.Fprintf(os.Stderr, "loading %s\n", reference(strings.TrimSuffix(filepath.Base(a), ".tar")))
		if err := c.load(ctx, a); err != nil {
			return err
		}
	}
	return nil
}
