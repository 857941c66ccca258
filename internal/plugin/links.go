package plugin

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/report"
)

func (t *tool) export() *cobra.Command {
	return &cobra.Command{
		Use:   "export STORE",
		Short: "Print what a store should show of each SKU, as a file that WooCommerce imports",
		Long: `Print what a store shows of each SKU, what it should show and how that number is made. As CSV, which is what is printed
unless -o says otherwise, its first columns are those of WooCommerce's product import, to put all numbers right at once
by hand. Nothing is written.`,
		Args:              arguments(1, 1, "one store"),
		ValidArgsFunction: t.completeStore,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("output") {
				t.output = string(report.CSV)
			}
			return t.ask(cmd, reading, func(ctx context.Context, s *session) error {
				return s.Printer.Numbers(s.Client.Numbers(ctx, args[0]))
			})
		},
	}
}

func (t *tool) linking() *cobra.Command {
	var store, sku string
	list := func(cmd *cobra.Command, _ []string) error {
		return t.ask(cmd, reading, func(ctx context.Context, s *session) error {
			links, err := s.Client.Links(ctx, store)
			if err != nil {
				return err
			}
			return s.Printer.Links(links)
		})
	}
	filter := func(cmd *cobra.Command) *cobra.Command {
		cmd.Flags().StringVar(&store, "store", "", "only those of this store")
		complete(cmd, "store", t.completeStores)
		return cmd
	}
	cmd := filter(&cobra.Command{
		Use:   "link",
		Short: "Say which items of stores sell an item of Katana where no SKU tells",
		Long: `Where the stock comes from Katana, items are matched by their SKU, and only where none matches by a link. Links are
made by web orders that Katana imported, by the ConfigMap of a ChildStore's katana.linksConfigMapRef, or here. What a person
says holds against what an order tells.`,
		Args: noMore, RunE: list,
	})
	set := &cobra.Command{
		Use:               "set STORE ID (ITEM | --sku SKU)",
		Short:             "Say which item of Katana a product or variation of a store sells",
		Example:           "  kubectl stocksync link set fr 345 2101\n  kubectl stocksync link set fr 345 --sku TSHIRT-M",
		Args:              arguments(2, 3, "a store, the WooCommerce id of a product or variation, and Katana's id of the variant"),
		ValidArgsFunction: t.completeStore,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := wooID(args[1])
			if err != nil {
				return err
			}
			q := agentapi.LinkRequest{Store: args[0], ID: id, SKU: sku}
			if len(args) == 3 {
				q.Item = args[2]
			}
			if (q.Item == "") == (q.SKU == "") {
				return errors.New("must be given either Katana's id of the variant, or its code by --sku")
			}
			return t.ask(cmd, writing, func(ctx context.Context, s *session) error {
				closed, err := s.SetLink(ctx, q)
				if err != nil {
					return err
				}
				return s.Closed(closed, report.Linked(q))
			})
		},
	}
	set.Flags().StringVar(&sku, "sku", "", "its code in Katana, instead of its id")
	cmd.AddCommand(
		filter(&cobra.Command{Use: "list", Short: "List the links", Args: noMore, RunE: list}),
		set,
		&cobra.Command{
			Use: "remove STORE ID", Short: "End the link of a product or variation",
			Args: arguments(2, 2, "a store, and the WooCommerce id of a product or variation"), ValidArgsFunction: t.completeStore,
			RunE: func(cmd *cobra.Command, args []string) error {
				id, err := wooID(args[1])
				if err != nil {
					return err
				}
				return t.ask(cmd, writing, func(ctx context.Context, s *session) error {
					closed, err := s.RemoveLink(ctx, agentapi.LinkRequest{Store: args[0], ID: id})
					if err != nil {
						return err
					}
					return s.Closed(closed, fmt.Sprintf("The link of %d in %s is removed.", id, args[0]))
				})
			},
		})
	return cmd
}

func wooID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, fmt.Errorf("%q must be the WooCommerce id of a product or variation, a whole number", text)
	}
	return id, nil
}
