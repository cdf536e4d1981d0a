package journal

import "mmjournal/recovery"

// Salvage finds every intact record of the journal in a directory, whatever else is damaged or
// missing, and says which records are missing and why. It takes no lock and changes nothing. No
// writer may be active. Damage is not an error: Salvage returns those of the file system,
// ErrNotExist, ErrNotJournal and ErrVersion. [recovery.Salvage] lists the rules, and
// [recovery.Salvaged] the fields of the result.
func Salvage(dir string, o SalvageOptions) (*Salvaged, error) { return recovery.Salvage(dir, o) }

type (
	// SalvageOptions are the options of [Salvage].
	SalvageOptions = recovery.SalvageOptions
	// Salvaged is what [Salvage] found.
	Salvaged = recovery.Salvaged
	// SalvagedRun is a run of records without a gap.
	SalvagedRun = recovery.SalvagedRun
	// SalvagedRecord is one record of a run.
	SalvagedRecord = recovery.SalvagedRecord
	// MissingRange is a range of seqs that no file has.
	MissingRange = recovery.MissingRange
)
