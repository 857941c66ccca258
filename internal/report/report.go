// Package report puts what an agent answers into the forms people and pipelines read: tables, JSON, YAML, CSV
// and JUnit. The agent's own commands and the kubectl plugin share it. It does no I/O but to the writer it is
// given, and has no clock.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"sigs.k8s.io/yaml"
)

// Format is how something is printed.
type Format string

// The formats. [CSV] and [JUnit] are those of an audit's findings only.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
	CSV   Format = "csv"
	JUnit Format = "junit"
)

// Formats are those everything can be printed in, AuditFormats those of an audit.
var (
	Formats      = []Format{Table, JSON, YAML}
	AuditFormats = []Format{Table, JSON, YAML, CSV, JUnit}
)

// ParseFormat finds a format among those allowed. The error names them.
func ParseFormat(text string, allowed []Format) (Format, error) {
	names := make([]string, len(allowed))
	for i, f := range allowed {
		if strings.EqualFold(text, string(f)) {
			return f, nil
		}
		names[i] = string(f)
	}
	last := len(names) - 1
	return "", fmt.Errorf("--output must be %s or %s", strings.Join(names[:last], ", "), names[last])
}

// Printer prints answers of an agent to Out.
type Printer struct {
	Out io.Writer
	// Format is [Table] when empty.
	Format Format
	// Command is what the user types before a subcommand, for advice: "agent", or "kubectl stocksync".
	Command string
}

// Value prints a value as JSON, or as YAML where that is wanted.
func (p Printer) Value(v any) error {
	if p.Format != YAML {
		p.Format = JSON
	}
	_, err := p.structured(v)
	return err
}

// structured prints a value as JSON or YAML and tells whether that was what is wanted.
func (p Printer) structured(v any) (bool, error) {
	switch p.Format {
	case JSON:
		text, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return true, err
		}
		_, err = p.Out.Write(append(text, '\n'))
		return true, err
	case YAML:
		text, err := yaml.Marshal(v)
		if err != nil {
			return true, err
		}
		_, err = p.Out.Write(text)
		return true, err
	}
	return false, nil
}

// Page is text made of lines and tables. Its first error is kept.
type Page struct {
	text  bytes.Buffer
	table *tabwriter.Writer
	rows  int
	out   io.Writer
	err   error
}

// flushRows is after how many rows a table is written out, so that one of any length takes little memory.
const flushRows = 500

// NewPage makes a page that is printed to out.
func NewPage(out io.Writer) *Page {
	p := &Page{out: out}
	p.table = tabwriter.NewWriter(&p.text, 0, 8, 2, ' ', 0)
	return p
}

// Line prints a line as it is, but for whatever in its texts could steer a terminal.
func (p *Page) Line(format string, args ...any) {
	p.flush()
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = clean(text)
		}
	}
	fmt.Fprintf(&p.text, format+"\n", args...)
}

// Row prints cells into the columns of the current table. Other people's texts are among them, so whatever could
// steer a terminal is left out.
func (p *Page) Row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = clean(fmt.Sprint(c))
	}
	fmt.Fprintln(p.table, strings.Join(texts, "\t"))
	if p.rows++; p.rows%flushRows == 0 {
		p.flush()
	}
}

func (p *Page) flush() {
	_ = p.table.Flush() // into memory
	for _, l := range bytes.SplitAfter(p.text.Bytes(), []byte("\n")) {
		if p.err == nil && len(l) > 0 {
			end := l[len(bytes.TrimRight(l, " \n")):]
			_, p.err = p.out.Write(append(bytes.Clone(bytes.TrimRight(l, " \n")), bytes.TrimLeft(end, " ")...))
		}
	}
	p.text.Reset()
}

// End prints what is left, and returns the first error of the writer.
func (p *Page) End() error {
	p.flush()
	return p.err
}

func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func signed(n int64) string { return fmt.Sprintf("%+d", n) }

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateTime)
}

// Age is a duration as people say it: seconds, minutes, hours or days.
func Age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return d.Round(time.Second).String()
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Count is a number with its noun, one of two.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
