package pgerr

// ReadOnlyTransaction is a write in a transaction that only reads.
const ReadOnlyTransaction Code = "25006"
