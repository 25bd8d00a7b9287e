package postgres

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// schemas has a file for each version of the schema, which makes it from the version before.
//
//go:embed schema_*.sql
var schemas embed.FS

const (
	// version is the newest schema that this program knows.
	version = 9
	// The numbers of our advisory locks, which are those of the database, and so might meet another
	// program's if they were small.
	migrationLock = 0x73656b696d6f7201
	partitionLock = 0x73656b696d6f7202

	secretOctets = 32
)

// migrate brings the schema to the newest version. Daemons that start at once take turns.
func migrate(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
		return err
	}
	// CREATE SCHEMA IF NOT EXISTS asks for the right to create one even if it exists.
	var there bool
	if err := tx.QueryRow(ctx, "SELECT current_schema() IS NOT NULL").Scan(&there); err != nil {
		return err
	}
	if !there {
		if _, err := tx.Exec(ctx, "CREATE SCHEMA sekimori"); err != nil {
			return fmt.Errorf("the role must be able to create the schema sekimori in this database: %w", err)
		}
	}
	at, err := current(ctx, tx)
	if err != nil {
		return err
	}
	if at > version {
		return fmt.Errorf("the database has version %d of the schema, and this program knows versions up to %d: "+
			"run the newer sekimori that made it, or name another database", at, version)
	}
	for v := at + 1; v <= version; v++ {
		text, err := schemas.ReadFile(fmt.Sprintf("schema_%d.sql", v))
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, string(text)); err != nil {
			return fmt.Errorf("version %d: %w", v, err)
		}
		const set = "INSERT INTO meta (name, value) VALUES ('schema', $1) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value"
		if _, err := tx.Exec(ctx, set, strconv.Itoa(v)); err != nil {
			return err
		}
	}
	if at == version {
		return nil
	}
	secret := make([]byte, secretOctets)
	_, _ = rand.Read(secret) // never fails
	_, err = tx.Exec(ctx, "INSERT INTO meta (name, value) VALUES ('secret', $1) ON CONFLICT DO NOTHING", hex.EncodeToString(secret))
	return err
}

// current returns the version of the schema, which is 0 in an empty database.
func current(ctx context.Context, tx pgx.Tx) (int, error) {
	var there bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass('meta') IS NOT NULL").Scan(&there); err != nil || !there {
		return 0, err
	}
	var value string
	err := tx.QueryRow(ctx, "SELECT value FROM meta WHERE name = 'schema'").Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errors.New("the database has a table meta that is not ours: name another database")
	} else if err != nil {
		return 0, err
	}
	return strconv.Atoi(value)
}

// Secret implements [report.Store].
func (s *Store) Secret(ctx context.Context) (secret []byte, err error) {
	err = s.do(ctx, "secret", func(ctx context.Context, tx pgx.Tx) error {
		var value string
		if err := tx.QueryRow(ctx, "SELECT value FROM meta WHERE name = 'secret'").Scan(&value); err != nil {
			return err
		}
		secret, err = hex.DecodeString(value)
		return err
	})
	return secret, err
}
