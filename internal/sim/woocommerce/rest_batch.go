package woocommerce

import (
	"errors"
	"fmt"
)

const maxBatch = 100

// batchItems runs a batch: creations, updates, deletions, in that order and each in the order given.
// Nothing is validated against the schema, a failed item is an error at its place, and the whole is 200.
func batchItems(c *call, create func(params) (*product, error), update func(int64, params) (*product, error), remove func(int64) (any, error)) (int, any, error) {
	lists := map[string][]any{}
	total := 0
	for _, verb := range []string{"create", "update", "delete"} {
		lists[verb], _ = c.params[verb].([]any)
		total += len(lists[verb])
	}
	if total > maxBatch {
		return 0, nil, fail(413, "woocommerce_rest_request_entity_too_large", fmt.Sprintf("Unable to accept more than %d items for this request.", maxBatch))
	}
	body := object{}
	for _, verb := range []string{"create", "update", "delete"} {
		if len(lists[verb]) == 0 {
			continue
		}
		answers := make([]any, 0, len(lists[verb]))
		for _, entry := range lists[verb] {
			item, _ := entry.(map[string]any)
			var answer any
			var shown any // the id an error carries
			var err error
			var done *product
			switch verb {
			case "create":
				shown = 0
				done, err = create(params(item))
			case "update":
				shown = item["id"]
				done, err = update(int64(phpInt(item["id"])), params(item))
			case "delete":
				shown = entry
				answer, err = remove(int64(phpInt(entry)))
			}
			var e *restError
			switch {
			case errors.As(err, &e):
				answer = object{{"id", shown}, {"error", e.body()}}
			case err != nil:
				return 0, nil, err
			case done != nil:
				answer = c.answer(done)
			}
			answers = append(answers, answer)
		}
		body = append(body, member{verb, answers})
	}
	if len(body) == 0 {
		return 200, []any{}, nil
	}
	return 200, body, nil
}

func batchProducts(c *call) (int, any, error) {
	// In a batch an unknown product is a bad request, not a missing page.
	inBatch := func(err error) error {
		if errors.Is(err, errProductID) {
			return fail(400, errProductID.code, errProductID.message)
		}
		return err
	}
	return batchItems(c,
		func(p params) (*product, error) { return c.s.create(c.run, nil, p) },
		func(id int64, p params) (*product, error) {
			x, err := c.s.editItem(c.run, id, 0, p)
			return x, inBatch(err)
		},
		func(id int64) (any, error) {
			c.s.mu.Lock()
			x, err := c.s.writable(id, 0)
			var body object
			if err == nil {
				body = c.productObject(x, nil)
			}
			c.s.mu.Unlock()
			if err != nil {
				return nil, inBatch(err)
			}
			return body, inBatch(c.s.removeItem(c.run, id, true))
		})
}

func batchVariations(c *call) (int, any, error) {
	c.s.mu.Lock()
	parent := c.s.st.Products[c.ids[0]]
	c.s.mu.Unlock()
	return batchItems(c,
		func(p params) (*product, error) {
			if parent == nil || parent.Kind != Variable {
				return nil, errParentID
			}
			return c.s.create(c.run, parent, p)
		},
		func(id int64, p params) (*product, error) { return c.s.editItem(c.run, id, c.ids[0], p) },
		func(id int64) (any, error) {
			c.s.mu.Lock()
			x, err := variation(c.s.st, c.ids[0], id)
			var body object
			if err == nil {
				body = c.variationObject(x, nil)
			}
			c.s.mu.Unlock()
			if err != nil {
				return nil, err
			}
			return body, c.s.removeItem(c.run, id, true)
		})
}
