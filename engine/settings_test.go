package engine

import (
	"testing"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/wire"
)

func TestDurations(t *testing.T) {
	d := settingDefs["statement_timeout"]
	for in, want := range map[string]string{"0": "0", "10": "10ms", "1000": "1s", "90s": "90s", "2min": "2min", "120 s": "2min", "1.5s": "1500ms", "1500us": "2ms", "1d": "1d"} {
		if got, err := duration(d, in); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "x", "-5", "3 weeks", "99999999999"} {
		if _, err := duration(d, bad); pgerr.CodeOf(err) != pgerr.InvalidParameterValue {
			t.Errorf("%s: %v", bad, err)
		}
	}
	s := settings{startup: map[string]string{"statement_timeout": "90s"}}
	if got := s.statementTimeout(); got != 90*time.Second {
		t.Error(got)
	}
}

func TestSettings(t *testing.T) {
	en := newEngine(t)
	c := connect(t, en)
	if n := len(c.s.Parameters()); n != 13 {
		t.Errorf("%d parameters are reported", n)
	}
	c.want("SHOW search_path", "public")
	c.ok("SET search_path TO \"Odd Name\", public")
	c.want("SHOW search_path", `"Odd Name", public`)
	c.ok("SET application_name = 'x'")
	if c.status["application_name"] != "x" {
		t.Errorf("told %v", c.status)
	}
	c.ok("BEGIN", "SET LOCAL application_name = 'y'", "SET statement_timeout = '5s'")
	c.want("SHOW application_name", "y")
	c.ok("SAVEPOINT a", "SET application_name = 'z'")
	c.want("SHOW application_name", "z")
	c.ok("ROLLBACK TO a")
	c.want("SHOW application_name", "y")
	c.ok("ROLLBACK")
	c.want("SHOW application_name", "x")
	c.want("SHOW statement_timeout", "0")
	if c.status["application_name"] != "x" {
		t.Errorf("told %v", c.status)
	}
	c.ok("BEGIN", "SET LOCAL application_name = 'y'", "SET statement_timeout = '5s'", "COMMIT")
	c.want("SHOW application_name", "x")
	c.want("SHOW statement_timeout", "5s")
	c.ok("RESET ALL")
	c.want("SHOW statement_timeout", "0")
	c.ok("SET datestyle = iso, mdy", "SET client_encoding = 'utf-8'", "SET TIME ZONE 'UTC'", "SET extra_float_digits = 3",
		"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SET client_min_messages = warning")
	c.want("SHOW transaction_isolation", "repeatable read")
	c.want("SHOW timezone", "UTC")
	for q, code := range map[string]pgerr.Code{
		"SET nonsense = 1": pgerr.UndefinedObject, "SHOW nonsense": pgerr.UndefinedObject,
		"SET server_version = '1'": pgerr.CantChangeRuntimeParam, "SET client_encoding = 'latin1'": pgerr.FeatureNotSupported,
		"SET timezone = 'Europe/Paris'": pgerr.FeatureNotSupported, "SET standard_conforming_strings = off": pgerr.FeatureNotSupported,
		"SET extra_float_digits = 9": pgerr.InvalidParameterValue, "SET streamdb.strict = maybe": pgerr.InvalidParameterValue,
	} {
		c.fails(code, q)
	}
}

func TestStartup(t *testing.T) {
	en := newEngine(t)
	for _, c := range []struct {
		st   wire.Startup
		code pgerr.Code
	}{
		{wire.Startup{User: "postgres"}, pgerr.SuccessfulCompletion},
		{wire.Startup{User: "root"}, pgerr.InvalidAuthorization},
		{wire.Startup{User: "streamdb", Database: "x"}, pgerr.InvalidCatalogName},
		{wire.Startup{User: "streamdb", Params: map[string]string{"nonsense": "1"}}, pgerr.UndefinedObject},
		{wire.Startup{User: "streamdb", Params: map[string]string{"options": "-c statement_timeout=5s --search-path=a"}}, pgerr.SuccessfulCompletion},
		{wire.Startup{User: "streamdb", Params: map[string]string{"options": "-x"}}, pgerr.SyntaxError},
	} {
		s, err := en.Connect(t.Context(), c.st)
		if pgerr.CodeOf(err) != c.code {
			t.Errorf("%+v: %v", c.st, err)
		}
		if err == nil {
			s.Close()
		}
	}
}
