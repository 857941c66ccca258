package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Down stops the cluster and removes what it made: processes, pods, mounts, interfaces, routes, rules and its
// folder, of which only the logs stay. Every wait has a limit. It is no error if there is nothing to stop.
func (n *Node) Down(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	procs := n.processes()
	if _, err := os.Stat(n.path("run")); errors.Is(err, os.ErrNotExist) {
		return errors.Join(n.stopShims(), n.networkDown(ctx)) // not even started
	}
	n.say("stopping")
	if err := procs.Stop(ctx, 5*time.Second, clients...); err != nil {
		return err
	}
	if err := n.removePods(ctx); err != nil {
		return err
	}
	if err := procs.Stop(ctx, 5*time.Second, server...); err != nil {
		return err
	}
	if err := procs.Stop(ctx, 5*time.Second, stores...); err != nil {
		return err
	}
	if err := n.stopShims(); err != nil {
		return err
	}
	if err := n.unmount(); err != nil {
		return err
	}
	return errors.Join(n.networkDown(ctx), removeCgroups(), n.removeLogLinks(), n.removeFiles())
}

// removePods ends every container. They outlive containerd, so a crashed one is started again for the purpose.
func (n *Node) removePods(ctx context.Context) error {
	if _, err := os.Stat(n.path("conf", "containerd.toml")); err != nil {
		return nil //nolint:nilerr // never started, so there is nothing to remove
	}
	if !n.processes().Alive("containerd") {
		if err := n.start(ctx, "containerd"); err != nil {
			return err
		}
	}
	var out string
	list := func(ctx context.Context) (err error) {
		out, err = n.ctr(ctx, "containers", "list", "-q")
		return err
	}
	deadline := time.Now().Add(10 * time.Second)
	for err := list(ctx); err != nil; err = list(ctx) {
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	ids := strings.Fields(out)
	if len(ids) == 0 {
		return nil
	}
	spaces, err := n.podNamespaces(ctx, ids)
	if err != nil {
		return err
	}
	// A container without a task has nothing to kill: only what is still listed afterwards is an error.
	_, _ = n.ctr(ctx, append([]string{"tasks", "delete", "--force"}, ids...)...)
	for _, space := range spaces {
		if _, err := run(ctx, "ip", "netns", "delete", space); err != nil {
			return err
		}
	}
	// The containers go last: they are the only record of their namespaces.
	if _, err := n.ctr(ctx, append([]string{"containers", "delete"}, ids...)...); err != nil {
		return err
	}
	return removeNetworkResults(ids)
}

// stopShims ends what containerd starts for each pod and, now and then, leaves behind.
func (n *Node) stopShims() error {
	for try := range 20 {
		pids, err := n.shims()
		if err != nil || len(pids) == 0 {
			return err
		}
		signal := syscall.SIGTERM // on which a shim also removes its socket
		if try >= 10 {
			signal = syscall.SIGKILL
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("ending pid %d, a containerd shim: %w", pid, err)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("containerd's shims do not end")
}

// shims lists the processes that were given the address of our containerd.
func (n *Node) shims() ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		args := strings.Split(string(b), "\x00")
		i := slices.Index(args, "-address")
		if !strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") || i < 0 || i+1 >= len(args) || args[i+1] != n.ContainerdSocket() {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// podNamespaces names the network namespaces of the containers that still exist. A pod's interfaces go with its namespace.
func (n *Node) podNamespaces(ctx context.Context, ids []string) ([]string, error) {
	var names []string
	for _, id := range ids {
		out, err := n.ctr(ctx, "containers", "info", id)
		if err != nil {
			return nil, err
		}
		var info struct {
			Spec struct {
				Linux struct {
					Namespaces []struct{ Type, Path string }
				}
			}
		}
		if err := json.Unmarshal([]byte(out), &info); err != nil {
			return nil, fmt.Errorf("container %s: %w", id, err)
		}
		for _, space := range info.Spec.Linux.Namespaces {
			name := filepath.Base(space.Path)
			// A pod's other containers name the same space by their first process, /proc/PID/ns/net.
			if space.Type != "network" || !strings.HasPrefix(name, "cni-") || slices.Contains(names, name) {
				continue
			}
			if _, err := os.Stat(space.Path); err == nil {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// removeNetworkResults removes the network plugins' notes about the containers.
func removeNetworkResults(ids []string) error {
	for _, id := range ids {
		notes, err := filepath.Glob("/var/lib/cni/results/*-" + id + "-*")
		if err != nil {
			return err
		}
		for _, note := range notes {
			if err := os.Remove(note); err != nil {
				return err
			}
		}
	}
	return nil
}

// unmount undoes every mount below the cluster's folder, the innermost first.
func (n *Node) unmount() error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], n.Dir+"/") {
			points = append(points, f[4])
		}
	}
	slices.Reverse(points)
	var errs []error
	for _, p := range points {
		if err := syscall.Unmount(p, syscall.MNT_DETACH); err != nil {
			errs = append(errs, &os.PathError{Op: "unmount", Path: p, Err: err})
		}
	}
	return errors.Join(errs...)
}

// StopKubelet ends the kubelet and leaves everything that runs on the node, which then is to the cluster as one that was cut off.
func (n *Node) StopKubelet(ctx context.Context) error {
	return n.processes().Stop(ctx, 10*time.Second, "kubelet")
}

// removeCgroups removes the kubelet's control groups, in every hierarchy. One that is still in use, as another kubelet's
// would be, cannot be removed and stays.
func removeCgroups() error {
	v1, err := filepath.Glob("/sys/fs/cgroup/*/kubepods")
	if err != nil {
		return err
	}
	for _, root := range append(v1, "/sys/fs/cgroup/kubepods") {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		slices.Reverse(dirs)
		for _, d := range dirs {
			_ = syscall.Rmdir(d)
		}
	}
	return nil
}

// removeLogLinks removes the links the kubelet makes outside its folder.
func (n *Node) removeLogLinks() error {
	links, err := filepath.Glob("/var/log/containers/*.log")
	if err != nil {
		return err
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, n.Dir+"/") {
			if err := os.Remove(link); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *Node) removeFiles() error {
	entries, err := os.ReadDir(n.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != "logs" {
			errs = append(errs, os.RemoveAll(n.path(e.Name())))
		}
	}
	return errors.Join(append(errs, removeDeviceSocket())...)
}

// removeDeviceSocket removes what the kubelet makes in a place of its own, whatever its folder is, unless another kubelet uses it.
func removeDeviceSocket() error {
	const dir = "/var/lib/kubelet/device-plugins"
	socket := filepath.Join(dir, "kubelet.sock")
	if conn, err := net.Dial("unix", socket); err == nil {
		return conn.Close()
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// Folders that hold anything else are not removed.
	_ = syscall.Rmdir(dir)
	_ = syscall.Rmdir(filepath.Dir(dir))
	return nil
}
