/** Which nodes serve clients, who is connected with which, and how far the groups of `$share` have come. */
export const name = 'nodes';
export const expands = true;
export const sql = `
-- A node is in here as long as it lives: the others remove it once its lease is over.
CREATE TABLE registry.nodes (
  id uuid PRIMARY KEY,
  seen_at timestamptz NOT NULL
);
CREATE TABLE registry.mqtt_clients (
  owner uuid NOT NULL,
  client_id text COLLATE "C" NOT NULL,
  connection uuid NOT NULL,
  node uuid NOT NULL,
  -- Who held the row before this connection; null: nobody.
  previous uuid,
  connected_at timestamptz NOT NULL,
  -- Sealed: it holds what a client wants said, and at times what it has shown.
  will text,
  PRIMARY KEY (owner, client_id)
) WITH (fillfactor = 70);
CREATE INDEX mqtt_clients_node ON registry.mqtt_clients (node);
CREATE TABLE registry.mqtt_share_members (
  group_key text COLLATE "C" NOT NULL,
  node uuid NOT NULL,
  members integer NOT NULL,
  PRIMARY KEY (group_key, node)
);
CREATE INDEX mqtt_share_members_node ON registry.mqtt_share_members (node);
CREATE TABLE registry.mqtt_share_cursors (
  group_key text COLLATE "C" NOT NULL,
  partition integer NOT NULL,
  -- Whose members get what is in it; null: nobody's.
  node uuid,
  log_offset bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (group_key, partition)
) WITH (fillfactor = 70);
CREATE INDEX mqtt_share_cursors_updated ON registry.mqtt_share_cursors (updated_at);
-- A clean CONNECT removes what was kept before it, not what was opened since.
ALTER TABLE registry.mqtt_sessions ADD COLUMN opened_at timestamptz NOT NULL DEFAULT '-infinity';
ALTER TABLE registry.mqtt_sessions ALTER COLUMN opened_at SET DEFAULT now();
`;
