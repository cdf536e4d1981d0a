package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mmjournal/journal"
)

func (a *app) truncateCommand() *cobra.Command {
	var front, back uint64
	cmd := &cobra.Command{
		Use:   "truncate DIR",
		Short: "Drop records at one end",
		Long: `Drop records of the journal in DIR for good: --front N makes N the first record, --back N
makes N the last one. Give exactly one of the two. To drop all records, use the last seq plus 1 with
--front, or the first seq minus 1 with --back.

The output is "first F last L" when the change is durable. If no record is left, L is F-1, and the
next record gets the seq F. Space is freed by whole segments. truncate works on a full disk too,
except on file systems that never overwrite a file in place (btrfs, ZFS).

-o json prints {"first":F,"last":L}.`,
		Example: `  journaltool truncate --front 1000 ./log
  journaltool truncate --back 4711 ./log`,
		Args: oneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			atFront := cmd.Flag("front").Changed
			if atFront == cmd.Flag("back").Changed {
				return usagef("exactly one of --front and --back must be given")
			}
			return a.truncate(args[0], func(j *journal.Journal) error {
				if atFront {
					return j.TruncateFront(journal.Seq(front))
				}
				return j.TruncateBack(journal.Seq(back))
			})
		},
	}
	cmd.Flags().Uint64Var(&front, "front", 0, "the seq that becomes the first")
	cmd.Flags().Uint64Var(&back, "back", 0, "the seq that becomes the last")
	return cmd
}

// truncate opens a journal, cuts it, and says what is left.
func (a *app) truncate(dir string, cut func(*journal.Journal) error) error {
	j, err := a.open(dir, &journal.Options{MustExist: true})
	if err != nil {
		return err
	}
	if err = cut(j); errors.Is(err, journal.ErrNoSpace) {
		err = fmt.Errorf("%w; nothing was changed: this file system needs space to write JOURNAL "+
			"over, so free some on the disk first", err)
	} else {
		err = advise(err, dir)
	}
	first, last := j.First(), j.Last()
	if err = errors.Join(err, j.Close()); err != nil {
		return err
	}
	if a.json() {
		return unlessClosed(a.printJSON(struct {
			First journal.Seq `json:"first"`
			Last  journal.Seq `json:"last"`
		}{first, last}))
	}
	_, err = fmt.Fprintf(a.stdout, "first %d last %d\n", first, last)
	return unlessClosed(err)
}
