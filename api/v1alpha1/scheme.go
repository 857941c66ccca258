package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SchemeGroupVersion is the group and version of every type of this package.
var SchemeGroupVersion = schema.GroupVersion{Group: "stocksync.dev", Version: "v1alpha1"}

// Kinds, as written in manifests.
const (
	KindStockSyncTopology = "StockSyncTopology"
	KindChildStore        = "ChildStore"
)

var schemeBuilder = runtime.NewSchemeBuilder(func(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(SchemeGroupVersion,
		&StockSyncTopology{}, &StockSyncTopologyList{},
		&ChildStore{}, &ChildStoreList{},
	)
	metav1.AddToGroupVersion(scheme, SchemeGroupVersion)
	return nil
})

// AddToScheme registers the types of this package.
func AddToScheme(scheme *runtime.Scheme) error { return schemeBuilder.AddToScheme(scheme) }
