package main

import (
	"os/exec"
	"runtime/debug"
	"strings"
)

// revision says which source the program was made from: as the build says, else, since `go run`
// does not say it, that of the current directory. "+changes" means that it is not quite that one.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		if rev := stamped(info); rev != "" {
			return rev
		}
	}
	rev, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	changes, err := exec.Command("git", "status", "--porcelain").Output()
	return marked(strings.TrimSpace(string(rev)), err != nil || len(changes) > 0)
}

// stamped returns the revision that a build notes, or "".
func stamped(info *debug.BuildInfo) string {
	rev, modified := "", false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			rev = s.Value[:min(len(s.Value), 12)]
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	return marked(rev, modified)
}

func marked(rev string, modified bool) string {
	if rev != "" && modified {
		rev += "+changes"
	}
	return rev
}

// peerVersions lists the peers with the versions that they were built in.
func peerVersions() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown versions"
	}
	versions := map[string]string{}
	for _, dep := range info.Deps {
		versions[dep.Path] = dep.Version
	}
	var list []string
	for _, impl := range impls {
		if impl.module != "" {
			list = append(list, impl.Name+" "+versions[impl.module])
		}
	}
	return strings.Join(list, ", ")
}
