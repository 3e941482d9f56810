package pgerr

// SQLSTATEs of date and time input.
const (
	InvalidTimeZoneDisplacement Code = "22009"
	IntervalFieldOverflow       Code = "22015"
)
