package pgerr

// SQLSTATEs of values that functions refuse.
const (
	ArraySubscriptError         Code = "2202E"
	InvalidRegularExpression    Code = "2201B"
	InvalidArgumentForWidth     Code = "2201G"
	DuplicateJSONObjectKey      Code = "22030"
	InvalidJSONText             Code = "22032"
	NullValueNotAllowed         Code = "22004"
	ZeroLengthCharacterString   Code = "2200F"
	InvalidEscapeCharacter      Code = "22019"
	InvalidUseOfEscapeCharacter Code = "2200C"
	FloatingPointException      Code = "22P01"
)
