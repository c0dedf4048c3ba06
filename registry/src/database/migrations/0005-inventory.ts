/** Which thing is there, by node. */
export const name = 'inventory';
export const sql = `
-- Nodes that write presence, and when they last did. What a silent one says of its things is void.
-- Not logged: after a crash of the server they write it anew, and all that is connected with them.
CREATE UNLOGGED TABLE registry.presence_nodes (
  id uuid PRIMARY KEY,
  seen_at timestamptz NOT NULL
);
CREATE TABLE registry.presence (
  thing uuid NOT NULL,
  node uuid NOT NULL,
  -- null: not connected with this node.
  online_since timestamptz,
  last_seen timestamptz NOT NULL,
  protocol text NOT NULL,
  address text NOT NULL,
  PRIMARY KEY (thing, node)
) WITH (fillfactor = 80);
CREATE INDEX presence_online ON registry.presence (node) WHERE online_since IS NOT NULL;
CREATE FUNCTION registry.forget_presence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM registry.presence WHERE thing IN (SELECT id FROM gone);
  RETURN NULL;
END $$;
CREATE TRIGGER things_forget_presence AFTER DELETE ON registry.things
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION registry.forget_presence();
-- Judged by the product first: a gateway that does not exist is refused in the same words as one of somebody else.
ALTER TABLE registry.things ALTER CONSTRAINT things_gateway_fkey DEFERRABLE INITIALLY DEFERRED;
`;
