package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"stocksync.dev/stocksync/internal/agentclient"
	"stocksync.dev/stocksync/internal/report"
)

// asker is what every command that asks the running agent has in common: where it runs, and how to print.
type asker struct {
	data, url, caFile, tokenFile string
	output                       string
	formats                      []report.Format
}

// flags adds the flags of where the agent is and, unless there are no formats, of how to print.
func (a *asker) flags(cmd *cobra.Command, formats ...report.Format) {
	dataFlag(cmd, &a.data)
	f := cmd.Flags()
	f.StringVar(&a.url, "connect", "", "`URL` of the agent's private port, instead of the socket in the data directory")
	f.StringVar(&a.caFile, "ca-file", "", "with --connect: `file` with the PEM certificate the agent must show, or that of its authority")
	f.StringVar(&a.tokenFile, "token-file", "", "with --connect: `file` with the read or the write token")
	a.formats = formats
	if len(formats) > 0 {
		names := make([]string, len(formats))
		for i, format := range formats {
			names[i] = string(format)
		}
		f.StringVarP(&a.output, "output", "o", string(formats[0]), strings.Join(names, ", "))
	}
}

// client connects with the first question.
func (a *asker) client() (*agentclient.Client, error) {
	switch {
	case a.url == "" && a.caFile+a.tokenFile != "":
		return nil, errors.New("--ca-file and --token-file are for --connect URL")
	case a.url == "":
		return agentclient.Socket(a.data), nil
	case a.caFile == "" || a.tokenFile == "":
		return nil, errors.New("--connect needs --ca-file and --token-file")
	}
	ca, err := os.ReadFile(a.caFile)
	if err != nil {
		return nil, fmt.Errorf("read the agent's certificate (--ca-file): %w", err)
	}
	token, err := os.ReadFile(a.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("read the token (--token-file): %w", err)
	}
	if strings.TrimSpace(string(token)) == "" {
		return nil, errors.New("the file of --token-file must hold a token and is empty")
	}
	return agentclient.TLS(a.url, ca, strings.TrimSpace(string(token)))
}

// ask calls fn with a client and a printer to the command's output.
func (a *asker) ask(cmd *cobra.Command, fn func(*agentclient.Client, report.Printer) error) error {
	p := report.Printer{Out: cmd.OutOrStdout(), Command: "agent"}
	if len(a.formats) > 0 {
		var err error
		if p.Format, err = report.ParseFormat(a.output, a.formats); err != nil {
			return err
		}
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	return fn(c, p)
}

// asking is a command that asks the agent.
func asking(cmd *cobra.Command, formats []report.Format, fn func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error) *cobra.Command {
	var a asker
	a.flags(cmd, formats...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.ask(cmd, func(c *agentclient.Client, p report.Printer) error { return fn(cmd, args, c, p) })
	}
	return cmd
}

// family is a command that only has others below it.
func family(use, short, long string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(below...)
	return cmd
}
