package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streamdb/streamdb/catalog"
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/sql"
	"github.com/streamdb/streamdb/types"
	"github.com/streamdb/streamdb/wire"
)

// ServerVersion is what clients are told: PostgreSQL's version that the
// dialect follows, then our own name.
const ServerVersion = "15.0 (streamdb)"

// settingDef is a session setting. Check gives the value's normal form; nil
// refuses to change it at all.
type settingDef struct {
	name   string // as SHOW and ParameterStatus spell it
	value  string // default
	report bool   // told to the client when it changes
	check  func(d *settingDef, v string) (string, error)
}

// settingDefs are the settings by folded name. Names are PostgreSQL's; those
// of our own begin with "streamdb.".
var settingDefs = func() map[string]*settingDef {
	defs := []*settingDef{
		{"application_name", "", true, anyText},
		{"client_encoding", "UTF8", true, onlyUTF8},
		{"DateStyle", "ISO, MDY", true, onlyISO},
		{"default_transaction_read_only", "off", true, boolean},
		{"in_hot_standby", "off", true, nil},
		{"integer_datetimes", "on", true, nil},
		{"IntervalStyle", "postgres", true, only("postgres")},
		{"is_superuser", "on", true, nil},
		{"server_encoding", "UTF8", true, nil},
		{"server_version", ServerVersion, true, nil},
		{"session_authorization", "", true, nil},
		{"standard_conforming_strings", "on", true, onlyOn},
		{"TimeZone", "UTC", true, onlyUTC},

		{"bytea_output", "hex", false, only("hex", "escape")},
		{"client_min_messages", "notice", false, only("debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error")},
		{"default_transaction_isolation", "read committed", false, isolationLevel},
		{"transaction_isolation", "", false, nil},
		{"transaction_read_only", "", false, nil},
		{"extra_float_digits", "1", false, integer(-15, 3)},
		{"idle_in_transaction_session_timeout", "0", false, zeroDuration},
		{"lc_collate", "C", false, nil},
		{"lc_ctype", "C", false, nil},
		{"lock_timeout", "0", false, duration},
		{"max_identifier_length", "63", false, nil},
		{"row_security", "on", false, boolean},
		{"search_path", catalog.PublicSchema, false, anyText},
		{"server_version_num", "150000", false, nil},
		{"statement_timeout", "0", false, duration},
		{"synchronous_commit", "on", false, onlyOn},
		{"streamdb.strict", "off", false, boolean},
	}
	m := make(map[string]*settingDef, len(defs))
	for _, d := range defs {
		m[strings.ToLower(d.name)] = d
	}
	return m
}()

func errBadValue(d *settingDef, v string) *pgerr.Error {
	return pgerr.New(pgerr.InvalidParameterValue, "invalid value for parameter \"%s\": \"%s\"", d.name, v)
}

func errOnly(d *settingDef, v, want string) error {
	return pgerr.Unsupported("%s = '%s'", d.name, v).WithHint("Only %s is.", want)
}

func anyText(_ *settingDef, v string) (string, error) { return v, nil }

func onlyUTF8(d *settingDef, v string) (string, error) {
	switch strings.ToUpper(strings.ReplaceAll(strings.ReplaceAll(v, "-", ""), "_", "")) {
	case "UTF8", "UNICODE":
		return "UTF8", nil
	}
	return "", errOnly(d, v, "UTF8")
}

func onlyISO(d *settingDef, v string) (string, error) {
	for _, w := range strings.Split(v, ",") {
		switch strings.ToLower(strings.TrimSpace(w)) {
		case "iso", "mdy", "us", "noneuro", "noneuropean", "default":
		default:
			return "", errOnly(d, v, "'ISO, MDY'")
		}
	}
	return "ISO, MDY", nil
}

func onlyUTC(d *settingDef, v string) (string, error) {
	switch strings.ToLower(v) {
	case "utc", "etc/utc", "gmt", "etc/gmt", "zulu", "z", "0", "+00", "+00:00", "default":
		return "UTC", nil
	}
	return "", errOnly(d, v, "UTC")
}

func onlyOn(d *settingDef, v string) (string, error) {
	b, err := boolean(d, v)
	if err == nil && b == "off" {
		err = errOnly(d, v, "on")
	}
	return b, err
}

func boolean(d *settingDef, v string) (string, error) {
	b, err := types.ParseText(types.T(types.Bool), v)
	if err != nil {
		return "", pgerr.New(pgerr.InvalidParameterValue, "parameter \"%s\" requires a Boolean value", d.name)
	}
	if b.I != 0 {
		return "on", nil
	}
	return "off", nil
}

func only(words ...string) func(*settingDef, string) (string, error) {
	return func(d *settingDef, v string) (string, error) {
		for _, w := range words {
			if strings.EqualFold(v, w) {
				return w, nil
			}
		}
		return "", errBadValue(d, v).WithHint("Available values: %s.", strings.Join(words, ", "))
	}
}

func isolationLevel(d *settingDef, v string) (string, error) {
	l, ok := parseIsolation(v)
	if !ok {
		return "", errBadValue(d, v).WithHint("Available values: serializable, repeatable read, read committed, read uncommitted.")
	}
	return isolationNames[l], nil
}

func integer(lo, hi int) func(*settingDef, string) (string, error) {
	return func(d *settingDef, v string) (string, error) {
		i, err := strconv.Atoi(strings.TrimSpace(v))
		if err != nil {
			return "", errBadValue(d, v)
		}
		if i < lo || i > hi {
			return "", pgerr.New(pgerr.InvalidParameterValue,
				"%d is outside the valid range for parameter \"%s\" (%d .. %d)", i, d.name, lo, hi)
		}
		return strconv.Itoa(i), nil
	}
}

// durationUnits are PostgreSQL's units of time.
var durationUnits = []struct {
	name string
	unit time.Duration
}{{"us", time.Microsecond}, {"ms", time.Millisecond}, {"s", time.Second}, {"min", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}}

// duration normalises a time, in ms if it has no unit, to PostgreSQL's form.
func duration(d *settingDef, v string) (string, error) {
	t := strings.TrimSpace(v)
	n := len(t)
	for n > 0 && (t[n-1] < '0' || t[n-1] > '9') {
		n--
	}
	unit := time.Millisecond
	if u := strings.TrimSpace(t[n:]); u != "" {
		i := slices.IndexFunc(durationUnits, func(x struct {
			name string
			unit time.Duration
		}) bool {
			return x.name == u
		})
		if i < 0 {
			return "", errBadValue(d, v).WithHint(`Valid units for this parameter are "us", "ms", "s", "min", "h", and "d".`)
		}
		unit = durationUnits[i].unit
	}
	f, err := strconv.ParseFloat(t[:n], 64)
	if err != nil {
		return "", errBadValue(d, v)
	}
	ms := f * float64(unit) / float64(time.Millisecond)
	if ms < 0 || ms > 1<<31-1 {
		return "", pgerr.New(pgerr.InvalidParameterValue, "%s ms is outside the valid range for parameter \"%s\" (0 .. 2147483647)",
			strconv.FormatFloat(ms, 'f', 0, 64), d.name)
	}
	return formatMillis(int64(ms + 0.5)), nil
}

func zeroDuration(d *settingDef, v string) (string, error) {
	s, err := duration(d, v)
	if err == nil && s != "0" {
		err = errOnly(d, v, "0")
	}
	return s, err
}

// formatMillis prints a time in the largest unit that divides it.
func formatMillis(ms int64) string {
	if ms == 0 {
		return "0"
	}
	for i := len(durationUnits) - 1; i > 0; i-- {
		if u := int64(durationUnits[i].unit / time.Millisecond); ms%u == 0 {
			return fmt.Sprintf("%d%s", ms/u, durationUnits[i].name)
		}
	}
	return fmt.Sprintf("%dms", ms)
}

// settingValues are what was set, over the defaults: by SET, and by SET LOCAL
// until the transaction ends. The maps are never changed, only replaced.
type settingValues struct{ session, local map[string]string }

// settings are a session's.
type settings struct {
	values   settingValues
	user     string
	startup  map[string]string // defaults of this session
	told     map[string]string // what the client knows
	timeout  time.Duration     // statement_timeout, parsed
	timeoutV string
	path     []string // search_path, parsed
	pathV    string
}

// start takes the settings of a startup packet.
func (x *settings) start(user string, params map[string]string) error {
	x.user, x.startup, x.told = user, map[string]string{}, map[string]string{}
	set := func(name, v string) error {
		d := settingDefs[strings.ToLower(name)]
		switch {
		case d == nil:
			return errUnknownSetting(name)
		case d.check == nil:
			return errFixedSetting(d)
		}
		norm, err := d.check(d, v)
		if err == nil {
			x.startup[strings.ToLower(name)] = norm
		}
		return err
	}
	for name, v := range params {
		var err error
		switch name {
		case "options":
			err = startupOptions(v, set)
		case "replication":
			if b, berr := types.ParseText(types.T(types.Bool), v); berr != nil || b.I != 0 {
				err = pgerr.Unsupported("the replication protocol")
			}
		default:
			err = set(name, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// startupOptions reads "-c name=value" and "--name=value" words.
func startupOptions(v string, set func(name, v string) error) error {
	words := strings.Fields(v)
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "-c" && i+1 < len(words):
			i++
			w = words[i]
		case strings.HasPrefix(w, "-c"):
			w = w[2:]
		case strings.HasPrefix(w, "--"):
			w = w[2:]
		default:
			return pgerr.New(pgerr.SyntaxError, "invalid command-line argument for server process: %s", w)
		}
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return pgerr.New(pgerr.SyntaxError, "-c %s requires a value", name)
		}
		if err := set(strings.ReplaceAll(name, "-", "_"), value); err != nil {
			return err
		}
	}
	return nil
}

func errUnknownSetting(name string) error {
	return pgerr.New(pgerr.UndefinedObject, "unrecognized configuration parameter \"%s\"", name)
}

func errFixedSetting(d *settingDef) error {
	return pgerr.New(pgerr.CantChangeRuntimeParam, "parameter \"%s\" cannot be changed", d.name)
}

// get gives a setting's value; the name is folded and known.
func (x *settings) get(name string) string {
	for _, m := range [...]map[string]string{x.values.local, x.values.session, x.startup} {
		if v, ok := m[name]; ok {
			return v
		}
	}
	if name == "session_authorization" {
		return x.user
	}
	return settingDefs[name].value
}

func (x *settings) bool(name string) bool { return x.get(name) == "on" }

func (x *settings) isolation() isolation {
	l, _ := parseIsolation(x.get("default_transaction_isolation"))
	return l
}

// statementTimeout gives the bound on a statement's time, 0 for none.
func (x *settings) statementTimeout() time.Duration {
	v := x.get("statement_timeout")
	if v == x.timeoutV {
		return x.timeout
	}
	n := strings.TrimRight(v, "abcdefghijklmnopqrstuvwxyz")
	i, _ := strconv.ParseInt(n, 10, 64)
	d := time.Duration(i) * time.Millisecond
	for _, u := range durationUnits {
		if u.name == v[len(n):] {
			d = time.Duration(i) * u.unit
		}
	}
	x.timeout, x.timeoutV = d, v
	return d
}

// searchPath gives the schemas in which lone names are looked for.
func (x *settings) searchPath() []string {
	v := x.get("search_path")
	if v == x.pathV && x.path != nil {
		return x.path
	}
	path := []string{}
	for _, n := range strings.Split(v, ",") {
		n = strings.TrimSpace(n)
		switch {
		case n == `"$user"`, n == "$user":
			n = x.user
		case len(n) >= 2 && n[0] == '"' && n[len(n)-1] == '"':
			n = strings.ReplaceAll(n[1:len(n)-1], `""`, `"`)
		default:
			n = strings.ToLower(n)
		}
		if n != "" {
			path = append(path, n)
		}
	}
	x.path, x.pathV = path, v
	return path
}

// wants reports whether the client wants messages of a severity.
func (x *settings) wants(severity string) bool {
	switch x.get("client_min_messages") {
	case "error":
		return false
	case "warning":
		return severity == "WARNING"
	}
	return true
}

// put sets a value, "" with reset to the default.
func (x *settings) put(name, v string, local, reset bool) {
	m := &x.values.session
	if local {
		m = &x.values.local
	}
	next := maps.Clone(*m)
	if next == nil {
		next = map[string]string{}
	}
	if reset && !local {
		delete(next, name)
	} else {
		next[name] = v
	}
	*m = next
	if !local && x.values.local != nil { // SET overrides an earlier SET LOCAL
		if _, ok := x.values.local[name]; ok {
			l := maps.Clone(x.values.local)
			delete(l, name)
			x.values.local = l
		}
	}
}

// end ends a transaction: SET LOCAL goes, and if it was rolled back SET too.
func (x *settings) end(committed bool, before settingValues) {
	if !committed {
		x.values = before
	}
	x.values.local = nil
}

// reported gives the values that clients are told, in a fixed order.
func (x *settings) reported() [][2]string {
	var out [][2]string
	for name, d := range settingDefs {
		if d.report {
			v := x.get(name)
			x.told[name] = v
			out = append(out, [2]string{d.name, v})
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return out
}

// report tells the client of settings that have changed.
func (s *session) report() {
	for name, old := range s.settings.told {
		if v := s.settings.get(name); v != old {
			s.settings.told[name] = v
			if s.client != nil {
				s.client.ParameterStatus(settingDefs[name].name, v)
			}
		}
	}
}

// set runs SET.
func (s *session) set(n *sql.Set) (*wire.Result, error) {
	done := &wire.Result{Tag: "SET"}
	if n.Name == "transaction" {
		return done, s.setTransaction(n)
	}
	name := strings.ToLower(n.Name)
	switch name {
	case "transaction_isolation", "transaction_read_only":
		return done, s.setTransactionParameter(name, n)
	case "role", "session_authorization":
		if n.Default || len(n.Values) == 1 && (n.Values[0] == "none" || n.Values[0] == s.user) {
			return done, nil
		}
		return nil, pgerr.Unsupported("SET %s", strings.ToUpper(strings.ReplaceAll(name, "_", " "))).At(n.Position())
	}
	if n.Local && !s.tx.explicit {
		s.warn(pgerr.NoActiveTransaction, "SET LOCAL can only be used in transaction blocks")
	}
	d := settingDefs[name]
	switch {
	case d == nil:
		return nil, errUnknownSetting(n.Name)
	case d.check == nil:
		return nil, errFixedSetting(d)
	case n.Default:
		v := s.defaultOf(name)
		s.settings.put(name, v, n.Local, true)
		s.report()
		return done, nil
	}
	if len(n.Values) > 1 && name != "search_path" && name != "datestyle" {
		return nil, pgerr.New(pgerr.InvalidParameterValue, "SET %s takes only one argument", name)
	}
	v, err := d.check(d, joinValues(name, n.Values))
	if err != nil {
		return nil, err
	}
	s.settings.put(name, v, n.Local, false)
	s.report()
	return done, nil
}

// joinValues makes one text of a list; names of schemas are quoted where
// they have to be.
func joinValues(name string, values []string) string {
	if name != "search_path" {
		return strings.Join(values, ", ")
	}
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v
		if v != strings.ToLower(v) || v == "" || strings.ContainsAny(v, " \",$") {
			out[i] = `"` + strings.ReplaceAll(v, `"`, `""`) + `"`
		}
	}
	return strings.Join(out, ", ")
}

// defaultOf is a setting's value before any SET.
func (s *session) defaultOf(name string) string {
	if v, ok := s.settings.startup[name]; ok {
		return v
	}
	return settingDefs[name].value
}

// setTransaction runs SET TRANSACTION and SET SESSION CHARACTERISTICS.
func (s *session) setTransaction(n *sql.Set) error {
	if !n.Session {
		if !s.tx.explicit {
			s.warn(pgerr.NoActiveTransaction, "SET TRANSACTION can only be used in transaction blocks")
			return nil
		}
		return s.setModes(n.Values)
	}
	for _, m := range n.Values {
		level, isLevel := strings.CutPrefix(m, "ISOLATION LEVEL ")
		switch {
		case isLevel:
			l, _ := parseIsolation(level)
			s.settings.put("default_transaction_isolation", isolationNames[l], false, false)
		case m == "READ ONLY":
			s.settings.put("default_transaction_read_only", "on", false, false)
		case m == "READ WRITE":
			s.settings.put("default_transaction_read_only", "off", false, false)
		}
	}
	s.report()
	return nil
}

// setTransactionParameter runs SET transaction_isolation and its kin.
func (s *session) setTransactionParameter(name string, n *sql.Set) error {
	if n.Default || len(n.Values) != 1 {
		return pgerr.Unsupported("SET %s TO DEFAULT", name).At(n.Position())
	}
	mode := "READ WRITE"
	if name == "transaction_isolation" {
		l, ok := parseIsolation(n.Values[0])
		if !ok {
			return errBadValue(settingDefs[name], n.Values[0])
		}
		mode = "ISOLATION LEVEL " + isolationNames[l]
	} else if v, err := boolean(settingDefs[name], n.Values[0]); err != nil {
		return err
	} else if v == "on" {
		mode = "READ ONLY"
	}
	return s.setModes([]string{mode})
}

// reset runs RESET.
func (s *session) reset(n *sql.Reset) (*wire.Result, error) {
	name := strings.ToLower(n.Name)
	if name == "all" {
		s.settings.values = settingValues{}
		s.report()
		return &wire.Result{Tag: "RESET"}, nil
	}
	if name == "role" || name == "session_authorization" {
		return &wire.Result{Tag: "RESET"}, nil
	}
	d := settingDefs[name]
	switch {
	case d == nil:
		return nil, errUnknownSetting(n.Name)
	case d.check == nil:
		return nil, errFixedSetting(d)
	}
	s.settings.put(name, s.defaultOf(name), false, true)
	s.report()
	return &wire.Result{Tag: "RESET"}, nil
}

// setting gives what SHOW tells.
func (s *session) setting(name string) (string, bool) {
	switch name {
	case "transaction_isolation":
		if s.tx != nil {
			return isolationNames[s.tx.level], true
		}
		return s.settings.get("default_transaction_isolation"), true
	case "transaction_read_only":
		if s.tx != nil && s.tx.readOnly {
			return "on", true
		}
		return "off", true
	}
	if settingDefs[name] == nil {
		return "", false
	}
	return s.settings.get(name), true
}

// sortedSettings gives all settings by name.
func sortedSettings() []*settingDef {
	out := make([]*settingDef, 0, len(settingDefs))
	for _, d := range settingDefs {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *settingDef) int {
		return strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name))
	})
	return out
}
