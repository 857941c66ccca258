package node

import (
	"context"
	"errors"
	"os"
	"strings"
)

const forwarding = "/proc/sys/net/ipv4/ip_forward"

// networkUp makes the bridge that carries the node's address, where the API and DNS servers listen. It has no members: a packet for
// a service address that the service proxy has not programmed yet ends there, and one for a pod that is gone
// is refused, so neither leaves the machine by its default route.
func (n *Node) networkUp(ctx context.Context) error {
	before, err := os.ReadFile(forwarding)
	if err != nil {
		return err
	}
	if err := os.WriteFile(n.path("ip_forward"), before, 0o644); err != nil {
		return err
	}
	for _, args := range []string{
		"link add " + bridge + " type bridge",
		"address add " + NodeIP + "/32 dev " + bridge,
		"link set " + bridge + " up",
		"route add " + ServiceCIDR + " dev " + bridge + " src " + NodeIP,
		"route add unreachable " + PodCIDR,
	} {
		if _, err := run(ctx, "ip", strings.Fields(args)...); err != nil {
			return err
		}
	}
	return os.WriteFile(forwarding, []byte("1\n"), 0o644)
}

// networkDown removes what networkUp and the service proxy made; the pods' interfaces went with the pods.
func (n *Node) networkDown(ctx context.Context) error {
	var errs []error
	for _, family := range []string{"ip", "ip6"} {
		if _, err := run(ctx, "nft", "list", "table", family, "kube-proxy"); err == nil {
			_, err := run(ctx, "nft", "delete", "table", family, "kube-proxy")
			errs = append(errs, err)
		}
	}
	if out, err := run(ctx, "ip", "route", "show", "type", "unreachable", PodCIDR); err == nil && out != "" {
		_, err := run(ctx, "ip", "route", "delete", "unreachable", PodCIDR)
		errs = append(errs, err)
	}
	if _, err := os.Stat("/sys/class/net/" + bridge); err == nil {
		_, err := run(ctx, "ip", "link", "delete", bridge)
		errs = append(errs, err)
	}
	if before, err := os.ReadFile(n.path("ip_forward")); err == nil {
		errs = append(errs, os.WriteFile(forwarding, before, 0o644))
	}
	return errors.Join(errs...)
}
