package journal

import "mmjournal/recovery"

// Salvage finds every record of the journal in a directory that can be had, whatever else there is
// damaged or missing, and says which records are missing and why. It takes no lock and changes
// nothing; no writer may be active. Damage is no error: errors are those of the file system,
// ErrNotExist, ErrNotJournal and ErrVersion. [recovery.Salvage] has the rules.
func Salvage(dir string, o SalvageOptions) (*Salvaged, error) { return recovery.Salvage(dir, o) }

// What [Salvage] takes and returns.
type (
	SalvageOptions = recovery.SalvageOptions
	Salvaged       = recovery.Salvaged
	SalvagedRun    = recovery.SalvagedRun
	SalvagedRecord = recovery.SalvagedRecord
	MissingRange   = recovery.MissingRange
)
