package connector

import (
	"sort"
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// Options reads the options of one source or sink: each getter notes the name
// as known and keeps the first error; Err also refuses names that no getter
// asked for. The option connector itself is always known.
type Options struct {
	connector string
	values    map[string]string
	known     []string
	err       error
}

// NewOptions starts reading the options of WITH for a connector.
func NewOptions(connector string, values map[string]string) *Options {
	return &Options{connector: connector, values: values, known: []string{"connector"}}
}

func (o *Options) get(name string) (string, bool) {
	o.known = append(o.known, name)
	v, ok := o.values[name]
	return v, ok
}

func (o *Options) bad(name, value, want string) {
	if o.err == nil {
		o.err = pgerr.New(pgerr.InvalidParameterValue, "invalid value for option %q of connector %q: %q", name, o.connector, value).
			WithHint("It must be %s.", want)
	}
}

// Int gives an integer option between lo and hi, def if it is absent.
func (o *Options) Int(name string, def, lo, hi int64) int64 {
	v, ok := o.get(name)
	if !ok {
		return def
	}
	i, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	if err != nil || i < lo || i > hi {
		o.bad(name, v, "an integer from "+strconv.FormatInt(lo, 10)+" to "+strconv.FormatInt(hi, 10))
	}
	return i
}

// Bool gives a boolean option, def if it is absent.
func (o *Options) Bool(name string, def bool) bool {
	v, ok := o.get(name)
	if !ok {
		return def
	}
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "true", "on", "yes", "1":
		return true
	case "false", "off", "no", "0":
		return false
	}
	o.bad(name, v, "true or false")
	return def
}

// Enum gives an option that is one of a few words, def if it is absent; with
// no def it must be there.
func (o *Options) Enum(name, def string, words ...string) string {
	v, ok := o.get(name)
	if !ok && def != "" {
		return def
	}
	for _, w := range words {
		if strings.EqualFold(v, w) {
			return w
		}
	}
	if !ok {
		o.missing(name, "Write "+name+" = '"+strings.Join(words, "' or '")+"'.")
	} else {
		o.bad(name, v, "one of "+strings.Join(words, ", "))
	}
	return def
}

// Text gives a text option that must be there and not be empty.
func (o *Options) Text(name, example string) string {
	v, _ := o.get(name)
	if v == "" {
		o.missing(name, "Write "+name+" = '"+example+"'.")
	}
	return v
}

// Delimiter gives the option delimiter: one character that COPY would allow,
// def if it is absent.
func (o *Options) Delimiter(def byte) byte {
	v, ok := o.get("delimiter")
	if !ok {
		return def
	}
	if len(v) != 1 || v[0] >= 0x80 || strings.Contains("\x00\n\r\"\\.abcdefghijklmnopqrstuvwxyz0123456789", strings.ToLower(v)) {
		o.bad("delimiter", v, "one ASCII character, no letter, digit, quote, dot, backslash or line break")
		return def
	}
	return v[0]
}

func (o *Options) missing(name, hint string) {
	if o.err == nil {
		o.err = pgerr.New(pgerr.InvalidParameterValue, "connector %q needs the option %q", o.connector, name).WithHint("%s", hint)
	}
}

// Err gives the first error (22023): an unknown option, or a bad value.
func (o *Options) Err() error {
	var unknown []string
	for name := range o.values {
		known := false
		for _, k := range o.known {
			known = known || k == name
		}
		if !known {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		sort.Strings(unknown)
		sort.Strings(o.known)
		return pgerr.New(pgerr.InvalidParameterValue, "connector %q has no option %q", o.connector, unknown[0]).
			WithHint("Its options are: %s.", strings.Join(o.known, ", "))
	}
	return o.err
}
