package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

// TestPeerVersions: each peer has a module, once, and it is in the build.
func TestPeerVersions(t *testing.T) {
	got := peerVersions()
	for _, impl := range impls {
		if impl.peer() != (impl.module != "") && impl != pebbleRecycledImpl {
			t.Errorf("%s: module %q", impl.Name, impl.module)
		}
		if impl.module != "" && !strings.Contains(got, impl.Name+" v") {
			t.Errorf("no version of %s in %s", impl.Name, got)
		}
	}
}

func TestRevision(t *testing.T) {
	if got := revision(); got == "" {
		t.Error("no revision")
	}
	rev := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef"}
	modified := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for want, settings := range map[string][]debug.BuildSetting{
		"": nil, "0123456789ab": {rev}, "0123456789ab+changes": {rev, modified},
	} {
		if got := stamped(&debug.BuildInfo{Settings: settings}); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}
