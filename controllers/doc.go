// Package controllers holds one reconciler a kind. The topology's reconciler writes the objects that run the agent;
// both compute the status of their kind at the end from what was found. What an agent says is read beside them, by
// [Agents], so that a slow agent holds up nothing.
package controllers
