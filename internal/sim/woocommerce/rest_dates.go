package woocommerce

import "time"

// dateFilter holds the moments a list request is limited to; nil where it names none.
type dateFilter struct{ createdAfter, createdBefore, modifiedAfter, modifiedBefore *time.Time }

func (c *call) dateFilter() dateFilter {
	gmt := c.params.bool("dates_are_gmt")
	moment := func(name string) *time.Time {
		d, ok := c.params[name].(date)
		if !ok {
			return nil
		}
		t := d.moment(c.s.o.Location, gmt)
		return &t
	}
	return dateFilter{moment("after"), moment("before"), moment("modified_after"), moment("modified_before")}
}

// match tells whether something of these dates is listed. Every limit is itself left out.
func (f dateFilter) match(created, modified time.Time) bool {
	within := func(t time.Time, after, before *time.Time) bool {
		return (after == nil || t.After(*after)) && (before == nil || t.Before(*before))
	}
	return within(created, f.createdAfter, f.createdBefore) && within(modified, f.modifiedAfter, f.modifiedBefore)
}
