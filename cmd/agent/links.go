package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/agentclient"
	"stocksync.dev/stocksync/internal/report"
)

func exportCommand() *cobra.Command {
	return asking(&cobra.Command{Use: "export STORE", Short: "Print what a store should show of each SKU, as a file that WooCommerce imports",
		Long: `Print what a store shows of each SKU, what it should show and how that number is made. As CSV, its first columns are
those of WooCommerce's product import, to put all numbers right at once by hand. Nothing is written.`,
		Args: arguments("one store", 1, 1)}, report.ExportFormats,
		func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
			return p.Numbers(c.Numbers(cmd.Context(), args[0]))
		})
}

func linkCommand() *cobra.Command {
	var store, sku string
	list := asking(&cobra.Command{Use: "list", Short: "List the links", Args: cobra.NoArgs}, report.Formats,
		func(cmd *cobra.Command, _ []string, c *agentclient.Client, p report.Printer) error {
			links, err := c.Links(cmd.Context(), store)
			if err != nil {
				return err
			}
			return p.Links(links)
		})
	list.Flags().StringVar(&store, "store", "", "only those of this `store`")
	set := asking(&cobra.Command{Use: "set STORE ID (ITEM | --sku SKU)", Short: "Say which item of the source a product or variation of a store sells",
		Example: "  agent link set fr 345 2101",
		Args:    arguments("a store, the WooCommerce id of a product or variation, and the source's id of the item", 2, 3)}, nil,
		func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
			id, err := wooID(args[1])
			if err != nil {
				return err
			}
			q := agentapi.LinkRequest{Store: args[0], ID: id, SKU: sku}
			if len(args) == 3 {
				q.Item = args[2]
			}
			n, err := c.SetLink(cmd.Context(), q)
			if err != nil {
				return err
			}
			return p.Closed(n, report.Linked(q))
		})
	set.Flags().StringVar(&sku, "sku", "", "the item's `SKU` in the source, instead of its id")
	remove := asking(&cobra.Command{Use: "remove STORE ID", Short: "End the link of a product or variation",
		Args: arguments("a store, and the WooCommerce id of a product or variation", 2, 2)}, nil,
		func(cmd *cobra.Command, args []string, c *agentclient.Client, p report.Printer) error {
			id, err := wooID(args[1])
			if err != nil {
				return err
			}
			n, err := c.RemoveLink(cmd.Context(), agentapi.LinkRequest{Store: args[0], ID: id})
			if err != nil {
				return err
			}
			return p.Closed(n, fmt.Sprintf("The link of %d in %s is removed.", id, args[0]))
		})
	return family("link", "Say which items of stores sell an item of Katana where no SKU tells",
		`Where the stock comes from Katana, items are matched by their SKU, and only where none matches by a link. Links are made by
web orders that Katana imported, by the ConfigMap of a ChildStore's katana.linksConfigMapRef, or here.`, list, set, remove)
}

func wooID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, fmt.Errorf("%q must be the WooCommerce id of a product or variation, a whole number", text)
	}
	return id, nil
}
