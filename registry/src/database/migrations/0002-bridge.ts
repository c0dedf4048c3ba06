/** Sessions that outlive connections, retained messages, tickets, certificates of things. */
export const name = 'bridge';
export const sql = `
CREATE SEQUENCE registry.session_generations;
CREATE TABLE registry.session_nodes (
  id uuid PRIMARY KEY,
  seen_at timestamptz NOT NULL
);
CREATE TABLE registry.mqtt_sessions (
  owner uuid NOT NULL,
  client_id text COLLATE "C" NOT NULL,
  generation bigint NOT NULL,
  -- The node that holds it; null: nobody is connected.
  node uuid,
  -- Whether the last opening took it from another node.
  taken boolean NOT NULL DEFAULT false,
  -- json, not jsonb: it keeps whatever text a client sent, U+0000 included.
  state json,
  expires_at timestamptz,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (owner, client_id)
) WITH (fillfactor = 70);
CREATE INDEX mqtt_sessions_expires ON registry.mqtt_sessions (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX mqtt_sessions_held ON registry.mqtt_sessions (node) WHERE node IS NOT NULL AND expires_at IS NULL;
CREATE FUNCTION registry.forget_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM registry.mqtt_sessions WHERE owner IN (SELECT id FROM gone);
  RETURN NULL;
END $$;
CREATE TRIGGER things_forget_sessions AFTER DELETE ON registry.things
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION registry.forget_sessions();
CREATE TRIGGER users_forget_sessions AFTER DELETE ON registry.users
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION registry.forget_sessions();
CREATE TABLE registry.retained (
  channel uuid NOT NULL REFERENCES registry.channels ON DELETE CASCADE,
  subtopic text COLLATE "C" NOT NULL,
  org uuid NOT NULL,
  message uuid NOT NULL,
  publisher text NOT NULL,
  content_type text NOT NULL,
  received_us bigint NOT NULL,
  qos smallint NOT NULL,
  payload bytea NOT NULL,
  partition integer NOT NULL,
  log_offset bigint NOT NULL,
  -- Set on a topic that was cleared: it stays for a while, so that nothing older comes back.
  cleared_at timestamptz,
  PRIMARY KEY (channel, subtopic)
) WITH (fillfactor = 80);
CREATE INDEX retained_live ON registry.retained (org, channel, subtopic) WHERE cleared_at IS NULL;
CREATE INDEX retained_cleared ON registry.retained (org, cleared_at) WHERE cleared_at IS NOT NULL;
-- Not logged: a crash of the server ends all tickets, which live for a minute anyway.
CREATE UNLOGGED TABLE registry.tickets (
  digest text PRIMARY KEY,
  subject uuid NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX tickets_expires ON registry.tickets (expires_at);
CREATE TABLE registry.certificates (
  thing uuid NOT NULL REFERENCES registry.things ON DELETE CASCADE,
  place integer NOT NULL,
  fingerprint text,
  authority text,
  CHECK ((fingerprint IS NULL) <> (authority IS NULL)),
  CONSTRAINT certificates_fingerprint_unique UNIQUE (fingerprint)
);
CREATE INDEX certificates_thing ON registry.certificates (thing);
`;
