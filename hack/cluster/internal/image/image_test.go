package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stocksync.dev/stocksync/hack/cluster/internal/image"
)

const (
	productDockerfile = "../../../../Dockerfile"
	clusterDockerfile = "../../Dockerfile"
)

func TestProductTargets(t *testing.T) {
	t.Parallel()
	f, err := image.Parse(productDockerfile, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"operator", "agent", "storesim"}; !slices.Equal(f.Targets, want) {
		t.Errorf("targets are %v, want %v", f.Targets, want)
	}
}

// The archive must run the program the Dockerfile names, as the user it names, whichever way it was made.
func TestBuildFollowsTheDockerfile(t *testing.T) {
	t.Parallel()
	f, err := image.Parse(clusterDockerfile, nil)
	if err != nil {
		t.Fatal(err)
	}
	name := func(target string) string { return "example.test/" + target + ":dev" }
	dirs := []string{t.TempDir(), t.TempDir()}
	var sums []string
	for _, dir := range dirs {
		archives, err := f.Build(t.Context(), []string{"pause"}, dir, name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(archives[0])
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, fmt.Sprintf("%x", sha256.Sum256(b)))
	}
	if sums[0] != sums[1] {
		t.Error("two builds of the same sources differ")
	}

	parts := read(t, open(t, filepath.Join(dirs[0], "pause.tar")))
	var manifests []struct {
		Config           string
		RepoTags, Layers []string
	}
	decode(t, parts["manifest.json"].content, &manifests)
	if len(manifests) != 1 || !slices.Equal(manifests[0].RepoTags, []string{"example.test/pause:dev"}) || len(manifests[0].Layers) != 1 {
		t.Fatalf("manifest is %+v", manifests)
	}
	var config struct {
		OS     string
		Config struct {
			User       string
			Entrypoint []string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	decode(t, parts[manifests[0].Config].content, &config)
	if config.OS != "linux" || config.Config.User != "65535:65535" || !slices.Equal(config.Config.Entrypoint, []string{"/pause"}) {
		t.Errorf("config is %+v", config)
	}
	layer := parts[manifests[0].Layers[0]].content
	if want := []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}; !slices.Equal(config.RootFS.DiffIDs, want) {
		t.Errorf("diff ids are %v, want %v", config.RootFS.DiffIDs, want)
	}
	files := read(t, bytes.NewReader(layer))
	program, ok := files["pause"]
	if !ok || len(files) != 1 {
		t.Fatalf("layer holds %d files, want /pause alone", len(files))
	}
	if program.mode != 0o755 || !bytes.HasPrefix(program.content, []byte("\x7fELF")) {
		t.Errorf("/pause has mode %o and is no program", program.mode)
	}
}

func TestParseRefusesWhatItCannotFollow(t *testing.T) {
	t.Parallel()
	const build = "FROM golang AS build\nRUN go build -o /out/ ./cmd/a\n"
	const good = build + "FROM scratch AS a\nCOPY --from=build /out/a /a\nUSER 1:1\nENTRYPOINT [\"/a\"]\n"
	for name, c := range map[string]struct{ text, want string }{
		"good":                 {good, ""},
		"continued line":       {strings.Replace(good, "RUN go build", "RUN go build \\\n  -trimpath", 1), ""},
		"another base":         {strings.Replace(good, "scratch", "debian", 1), "must be FROM scratch"},
		"shell":                {strings.Replace(good, "./cmd/a", "./cmd/a && rm -r /x", 1), "no shell syntax"},
		"another program":      {strings.Replace(good, "go build", "make", 1), "the one `go build`"},
		"unknown instruction":  {good + "VOLUME /data\n", "must be COPY, USER or ENTRYPOINT"},
		"no user":              {strings.Replace(good, "USER 1:1\n", "", 1), "must have COPY --from=build, USER and ENTRYPOINT"},
		"entrypoint as string": {strings.Replace(good, `["/a"]`, "/a", 1), "must be a list"},
		"copy of a folder":     {strings.Replace(good, "/a /a", "/a /bin/", 1), "must be COPY --from=build FILE FILE"},
		"unnamed stage":        {"FROM golang\n" + good, "must be FROM IMAGE AS NAME"},
		"nothing before FROM":  {"USER 1\n" + good, "must come after a FROM"},
		"no build":             {strings.Replace(good, build, "FROM golang AS build\n", 1), "must have a RUN go build"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "Dockerfile")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := image.Parse(file, nil)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}

type file struct {
	mode    int64
	content []byte
}

func read(t *testing.T, r io.Reader) map[string]file {
	t.Helper()
	files := map[string]file{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = file{h.Mode, b}
	}
}

func open(t *testing.T, name string) io.Reader {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b)
}

func decode(t *testing.T, b []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}
