// Package v1alpha1 holds the two kinds of StockSync: a [StockSyncTopology] names the master store whose
// agent keeps the count, a [ChildStore] is a store that follows it.
//
// The same documents configure the operator (through the Kubernetes API) and the agent (through a file),
// so what a field means when it is omitted is defined here, by the methods beside the types, and nowhere else.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package="applyconfiguration"
// +groupName=stocksync.dev
package v1alpha1
