package testpg

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestStart(t *testing.T) {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, Start(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	for setting, want := range map[string]string{"timezone": "UTC", "lc_collate": "C", "server_encoding": "UTF8", "intervalstyle": "postgres"} {
		var got string
		if err := c.QueryRow(ctx, "SELECT current_setting($1)", setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), expected %q", setting, got, err, want)
		}
	}
}
