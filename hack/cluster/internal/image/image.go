// Package image makes container images without a container engine, from the same Dockerfile an engine would use.
package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Build compiles the named targets of the Dockerfile, whose folder is the context, and writes each as
// <dir>/<target>.tar, an archive with the reference name(target) that container runtimes import. It returns the
// archives in the order of targets. The same sources give the same bytes.
func (f *File) Build(ctx context.Context, targets []string, dir string, name func(target string) string) ([]string, error) {
	for _, t := range targets {
		if _, ok := f.targets[t]; !ok {
			return nil, fmt.Errorf("no target %q in %s: must be one of %s", t, f.path, strings.Join(f.Targets, ", "))
		}
	}
	programs, err := os.MkdirTemp("", "stocksync-build-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(programs) }()
	if err := f.compile(ctx, targets, programs); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var archives []string
	for _, t := range targets {
		archive := filepath.Join(dir, t+".tar")
		if err := f.archive(f.targets[t], programs, archive, name(t)); err != nil {
			return nil, fmt.Errorf("image %s: %w", t, err)
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// compile runs the build stage's `go build` for the packages that the targets need.
func (f *File) compile(ctx context.Context, targets []string, out string) error {
	var packages []string
	for _, t := range targets {
		for _, c := range f.targets[t].copies {
			i := slices.IndexFunc(f.build.packages, func(p string) bool { return f.build.out+path.Base(p) == c.from })
			if i >= 0 && !slices.Contains(packages, f.build.packages[i]) {
				packages = append(packages, f.build.packages[i])
			}
		}
	}
	args := append([]string{"build", "-o", out + "/"}, f.build.flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir = filepath.Dir(f.path)
	cmd.Env = append(append(os.Environ(), "GOOS=linux", "GOFLAGS=", "GOWORK=off"), f.build.env...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(packages, " "), err, said.String())
	}
	return nil
}

// The documents inside an archive, as container runtimes expect them.
type (
	imageConfig struct {
		Architecture string    `json:"architecture"`
		OS           string    `json:"os"`
		Config       runConfig `json:"config"`
		RootFS       rootFS    `json:"rootfs"`
	}
	runConfig struct {
		User       string   `json:"User"`
		Entrypoint []string `json:"Entrypoint"`
		WorkingDir string   `json:"WorkingDir"`
	}
	rootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
	manifest struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
)

func (f *File) archive(t target, programs, file, reference string) error {
	layer, err := f.layer(t, programs)
	if err != nil {
		return err
	}
	layerSum := fmt.Sprintf("%x", sha256.Sum256(layer))
	config, err := json.Marshal(imageConfig{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Config:       runConfig{User: t.user, Entrypoint: t.entrypoint, WorkingDir: "/"},
		RootFS:       rootFS{Type: "layers", DiffIDs: []string{"sha256:" + layerSum}},
	})
	if err != nil {
		return err
	}
	configName := fmt.Sprintf("%x.json", sha256.Sum256(config))
	layerName := layerSum + ".tar"
	index, err := json.Marshal([]manifest{{Config: configName, RepoTags: []string{reference}, Layers: []string{layerName}}})
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, part := range []struct {
		name    string
		content []byte
	}{{layerName, layer}, {configName, config}, {"manifest.json", index}} {
		if err := add(w, part.name, 0o644, part.content); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// layer is the target's file system: what it copies, and the folders above.
func (f *File) layer(t target, programs string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := map[string]bool{".": true}
	for _, c := range t.copies {
		from, mode := c.from, int64(0o644)
		if program, ok := strings.CutPrefix(c.from, f.build.out); ok {
			from, mode = filepath.Join(programs, program), 0o755
		}
		content, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		to := strings.TrimPrefix(c.to, "/")
		if err := addFolders(w, path.Dir(to), made); err != nil {
			return nil, err
		}
		if err := add(w, to, mode, content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func addFolders(w *tar.Writer, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	if err := addFolders(w, path.Dir(dir), made); err != nil {
		return err
	}
	made[dir] = true
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, Format: tar.FormatUSTAR})
}

// add writes a file owned by root, with no time of its own, so that equal contents give equal archives.
func add(w *tar.Writer, name string, mode int64, content []byte) error {
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), Format: tar.FormatUSTAR})
	if err != nil {
		return err
	}
	_, err = io.Copy(w, bytes.NewReader(content))
	return err
}
