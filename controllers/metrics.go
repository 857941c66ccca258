package controllers

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/metric"
)

// conditionCollector shows the conditions of all objects when asked, as they are in the cache: the series of an
// object go with it.
type conditionCollector struct {
	reader  client.Reader
	elected <-chan struct{}
	desc    *prometheus.Desc
}

// RegisterMetrics has the conditions of the objects reader lists shown among the metrics once elected is closed: of two
// operators only the acting one shows them, so that no alert comes twice. It is an error if they are registered already.
func RegisterMetrics(registry prometheus.Registerer, reader client.Reader, elected <-chan struct{}) error {
	err := registry.Register(&conditionCollector{reader: reader, elected: elected, desc: metric.Condition.Desc()})
	if errors.As(err, &prometheus.AlreadyRegisteredError{}) {
		return errors.New("the metrics of the conditions are registered already: one registry serves one manager")
	}
	return err
}

// Describe implements [prometheus.Collector].
func (c *conditionCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements [prometheus.Collector].
func (c *conditionCollector) Collect(ch chan<- prometheus.Metric) {
	select {
	case <-c.elected:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	show := func(kind string, object metav1.Object, conditions []metav1.Condition) {
		for _, cond := range conditions {
			v := -1.0
			switch cond.Status {
			case metav1.ConditionTrue:
				v = 1
			case metav1.ConditionFalse:
				v = 0
			case metav1.ConditionUnknown:
			}
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, v, object.GetNamespace(), kind, object.GetName(), cond.Type)
		}
	}
	topologies, children := &v1alpha1.StockSyncTopologyList{}, &v1alpha1.ChildStoreList{}
	for _, list := range []client.ObjectList{topologies, children} {
		if err := c.reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return // the cache is not filled yet; the other metrics are worth having
		}
	}
	for i := range topologies.Items {
		show("StockSyncTopology", &topologies.Items[i], topologies.Items[i].Status.Conditions)
	}
	for i := range children.Items {
		show("ChildStore", &children.Items[i], children.Items[i].Status.Conditions)
	}
}
