module mmjournal/internal/powercut

go 1.26.0

require (
	github.com/hanwen/go-fuse/v2 v2.12.1
	golang.org/x/sys v0.49.0
	mmjournal v0.0.0
)

require (
	github.com/klauspost/crc32 v1.3.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
)

replace mmjournal => ../..
