package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	batchac "k8s.io/client-go/applyconfigurations/batch/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

// TestJobsAskForTheirRun holds the command lines the operator renders against the commands of this program.
func TestJobsAskForTheirRun(t *testing.T) {
	t.Parallel()
	topology := &v1alpha1.StockSyncTopology{}
	topology.Name, topology.Namespace = "emea", "shops"
	when := v1alpha1.Timetable{Schedule: "@daily"}
	topology.Spec.Reconcile = &v1alpha1.Reconcile{Timetable: when, Strategy: v1alpha1.ReconcilePush}
	topology.Spec.Audit = &v1alpha1.Audit{Timetable: when}
	operator := render.Operator{AgentImage: "agent:1"}
	for _, c := range []struct {
		job      *batchac.CronJobApplyConfiguration
		kind     agentapi.RunKind
		strategy agentapi.Strategy
	}{
		{render.ReconcileCronJob(topology, operator), agentapi.KindReconcile, agentapi.Push},
		{render.AuditCronJob(topology, operator), agentapi.KindAudit, ""},
	} {
		container := c.job.Spec.JobTemplate.Spec.Template.Spec.Containers[0]
		variable := container.Env[0]
		var args []string
		for _, arg := range container.Args {
			args = append(args, strings.ReplaceAll(arg, "$("+*variable.Name+")", "job-1"))
		}
		agent := ended(agentapi.NeedsAttention)
		result := filepath.Join(t.TempDir(), "termination-log")
		// The addresses and files of a cluster are not here: those of the test come after them, and win.
		args = append(append(args, agent.overTLS(t)...), "--termination-log", result)
		_, _, err := separate(t.Context(), args...)
		if code := codeOf(err); code != agentapi.ExitNeedsAttention {
			t.Errorf("%s: exit code %d (%v), want the one that a Job does not try again", *c.job.Name, code, err)
		}
		if len(agent.posts) != 1 || agent.posts[0].Kind != c.kind || agent.posts[0].Strategy != c.strategy || agent.posts[0].RequestID != "job-1" {
			t.Errorf("%s asks for %+v", *c.job.Name, agent.posts)
		}
		if text, err := os.ReadFile(result); err != nil || !strings.Contains(string(text), string(agentapi.NeedsAttention)) {
			t.Errorf("%s leaves the termination message %q (%v)", *c.job.Name, text, err)
		}
	}
}
