package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
)

// File is a Dockerfile of the kind Build can follow: one stage that builds Go programs, and targets from scratch
// that copy what it built.
type File struct {
	path    string
	build   buildStage
	targets map[string]target
	// Targets are the names of the images, in the order of the file.
	Targets []string
}

// buildStage is what matters of the stage named "build".
type buildStage struct {
	// env is set for the compiler, in the form "KEY=value".
	env []string
	// flags of `go build` but for -o, packages its arguments, out the folder the programs go to.
	flags, packages []string
	out             string
}

// target is one image.
type target struct {
	copies     []copied
	user       string
	entrypoint []string
}

// copied is a file taken from the build stage.
type copied struct{ from, to string }

// Parse reads a Dockerfile. args override the defaults of its ARG instructions. An instruction that Build could
// not follow faithfully is an error.
func Parse(file string, args map[string]string) (*File, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f := &File{path: file, targets: map[string]target{}}
	values := map[string]string{}
	stage := ""
	for number, line := range logicalLines(string(text)) {
		instruction, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		if err := f.instruction(&stage, values, args, strings.ToUpper(instruction), rest); err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", file, number, line, err)
		}
	}
	for _, name := range f.Targets {
		t := f.targets[name]
		if len(t.copies) == 0 || len(t.entrypoint) == 0 || t.user == "" {
			return nil, fmt.Errorf("%s: target %s must have COPY --from=build, USER and ENTRYPOINT", file, name)
		}
	}
	if len(f.build.packages) == 0 {
		return nil, fmt.Errorf("%s: the stage named build must have a RUN go build -o DIR/ and packages", file)
	}
	return f, nil
}

// logicalLines yields each instruction with the number of its first line: comments and blank lines left out, continued lines joined.
func logicalLines(text string) func(func(int, string) bool) {
	return func(yield func(int, string) bool) {
		var joined string
		first := 0
		for i, line := range strings.Split(text, "\n") {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if joined == "" {
				first = i + 1
			}
			if rest, more := strings.CutSuffix(line, "\\"); more {
				joined += rest + " "
				continue
			}
			if !yield(first, joined+line) {
				return
			}
			joined = ""
		}
	}
}

func (f *File) instruction(stage *string, values, args map[string]string, name, rest string) error {
	if name == "FROM" {
		words := strings.Fields(rest)
		if len(words) != 3 || !strings.EqualFold(words[1], "AS") {
			return errors.New("must be FROM IMAGE AS NAME")
		}
		*stage = words[2]
		if *stage == "build" {
			return nil
		}
		if words[0] != "scratch" {
			return errors.New("a target must be FROM scratch")
		}
		f.Targets = append(f.Targets, *stage)
		f.targets[*stage] = target{}
		return nil
	}
	if *stage == "build" {
		return f.buildInstruction(values, args, name, rest)
	}
	t, ok := f.targets[*stage]
	if !ok {
		return errors.New("must come after a FROM")
	}
	err := t.instruction(name, rest)
	f.targets[*stage] = t
	return err
}

func (f *File) buildInstruction(values, args map[string]string, name, rest string) error {
	expand := func(key string) string { return values[key] }
	switch name {
	case "ARG":
		key, value, _ := strings.Cut(rest, "=")
		if given, ok := args[key]; ok {
			value = given
		}
		values[key] = value
	case "ENV":
		if !strings.Contains(rest, "=") || strings.ContainsAny(rest, " \"") {
			return errors.New("must be one ENV KEY=value, without quotes")
		}
		f.build.env = append(f.build.env, os.Expand(rest, expand))
	case "WORKDIR", "COPY": // where the sources lie inside the engine; without one they are built where they are
	case "RUN":
		if rest == "go mod download" {
			return nil // go build does it by itself
		}
		words, err := split(os.Expand(rest, expand))
		if err != nil {
			return err
		}
		return f.goBuild(words)
	default:
		return errors.New("cannot be followed without a container engine: must be ARG, ENV, WORKDIR, COPY or RUN")
	}
	return nil
}

func (f *File) goBuild(words []string) error {
	if len(words) < 2 || words[0] != "go" || words[1] != "build" || len(f.build.packages) > 0 {
		return errors.New("RUN must be `go mod download` or the one `go build`")
	}
	for i := 2; i < len(words); i++ {
		switch word := words[i]; {
		case word == "-o" && i+1 < len(words):
			i++
			f.build.out = words[i]
		case word == "-ldflags" && i+1 < len(words):
			i++
			f.build.flags = append(f.build.flags, word, words[i])
		case strings.HasPrefix(word, "-"):
			f.build.flags = append(f.build.flags, word)
		default:
			f.build.packages = append(f.build.packages, word)
		}
	}
	if !strings.HasSuffix(f.build.out, "/") {
		return errors.New("-o must name a folder and end in /")
	}
	return nil
}

func (t *target) instruction(name, rest string) error {
	switch name {
	case "COPY":
		words := strings.Fields(rest)
		if len(words) != 3 || words[0] != "--from=build" || !path.IsAbs(words[1]) || !path.IsAbs(words[2]) || strings.HasSuffix(words[2], "/") {
			return errors.New("must be COPY --from=build FILE FILE, both absolute")
		}
		t.copies = append(t.copies, copied{words[1], words[2]})
	case "USER":
		t.user = rest
	case "ENTRYPOINT":
		if err := json.Unmarshal([]byte(rest), &t.entrypoint); err != nil {
			return fmt.Errorf(`must be a list such as ["/agent"]: %w`, err)
		}
	default:
		return errors.New("cannot be followed without a container engine: must be COPY, USER or ENTRYPOINT")
	}
	return nil
}

// split divides a command line into words; double quotes hold words together.
func split(line string) ([]string, error) {
	var words []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	if strings.Count(line, `"`)%2 == 1 || strings.ContainsAny(line, `'$;|&<>`+"`") {
		return nil, errors.New("must be a plain command: no shell syntax but double quotes")
	}
	return words, nil
}
