//! The tables of the mail of hosts that keep nothing on their disk.
//!
//! Rule: one step of the schema; a change of it is a step of its own. The history is one table for each day (UTC) of its
//! ends, made ahead and dropped whole, by functions that are the owner's, so that a role with fewer rights may call them.

/// Ends are milliseconds since 1970. A day that is not there (a clock was wrong) is in `history_other`. Messages come and go:
/// they are vacuumed by the number of their changes.
pub(super) const ROWS: &str = "
    CREATE TABLE pillarbox.queue (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        host text NOT NULL,
        taken boolean NOT NULL DEFAULT false,
        lease_until timestamptz NOT NULL
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
    CREATE TABLE pillarbox.message (
        id bytea PRIMARY KEY,
        queue bigint NOT NULL REFERENCES pillarbox.queue,
        claim bigint,
        dot boolean NOT NULL DEFAULT false,
        fresh boolean NOT NULL DEFAULT false,
        record bytea NOT NULL
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
            autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000);
    CREATE INDEX ON pillarbox.message (queue, id);
    CREATE INDEX ON pillarbox.message (queue, id) WHERE fresh;
    CREATE TABLE pillarbox.body (
        message bytea NOT NULL REFERENCES pillarbox.message ON DELETE CASCADE,
        part integer NOT NULL,
        octets bytea NOT NULL,
        PRIMARY KEY (message, part)
    ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
    ALTER TABLE pillarbox.body ALTER COLUMN octets SET STORAGE EXTERNAL;
    CREATE TABLE pillarbox.standing (
        host text NOT NULL,
        account bytea NOT NULL,
        state bytea NOT NULL,
        PRIMARY KEY (host, account)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
    CREATE TABLE pillarbox.history (
        id bytea NOT NULL,
        ended bigint NOT NULL,
        record bytea NOT NULL
    ) PARTITION BY RANGE (ended);
    CREATE INDEX ON pillarbox.history (id);
    CREATE INDEX ON pillarbox.history (ended, id);
    CREATE TABLE pillarbox.history_other PARTITION OF pillarbox.history DEFAULT;
    CREATE FUNCTION pillarbox.make_days(OUT made text) LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        PERFORM set_config('lock_timeout', '2s', true);
        PERFORM pg_advisory_xact_lock(hashtext('pillarbox.make_days'));
        FOR day IN floor(extract(epoch FROM clock_timestamp()) / 86400) ..
                   floor(extract(epoch FROM clock_timestamp()) / 86400) + 2 LOOP
            made := 'history_' || to_char(to_timestamp(day * 86400::bigint) AT TIME ZONE 'UTC', 'YYYYMMDD');
            IF NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                           WHERE n.nspname = 'pillarbox' AND c.relname = made)
               AND NOT EXISTS (SELECT FROM pillarbox.history_other
                               WHERE ended >= day * 86400000::bigint AND ended < (day + 1) * 86400000::bigint) THEN
                EXECUTE format('CREATE TABLE pillarbox.%I PARTITION OF pillarbox.history FOR VALUES FROM (%s) TO (%s)',
                               made, day * 86400000::bigint, (day + 1) * 86400000::bigint);
            END IF;
        END LOOP;
    END $$;
    CREATE FUNCTION pillarbox.drop_days(before_ms bigint, OUT dropped text) LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        PERFORM set_config('lock_timeout', '2s', true);
        FOR dropped IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'pillarbox.history'::regclass AND c.relname ~ '^history_[0-9]{8}$'
              AND extract(epoch FROM to_date(substr(c.relname, 9), 'YYYYMMDD')) * 1000 + 86400000 <= before_ms
        LOOP
            EXECUTE format('DROP TABLE pillarbox.%I', dropped);
        END LOOP;
        DELETE FROM pillarbox.history_other WHERE ended < before_ms;
    END $$;
    REVOKE EXECUTE ON FUNCTION pillarbox.make_days(), pillarbox.drop_days(bigint) FROM PUBLIC;
    COMMENT ON TABLE pillarbox.queue IS
        'One row for each start of a host. lease_until: who is silent for longer may be taken over. taken: it was.';
    COMMENT ON TABLE pillarbox.message IS
        'Mail that waits. claim: a worker of its queue''s host has it. dot: its final dot may have been sent. fresh: from another queue.';
    COMMENT ON TABLE pillarbox.history IS 'Mail that has left. ended: milliseconds since 1970.';
";
