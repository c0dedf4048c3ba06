/** Who changed what, and who was refused what. */
export const name = 'audit';
export const sql = `
CREATE TABLE registry.audit (
  id uuid PRIMARY KEY,
  at timestamptz NOT NULL,
  org uuid,
  -- The change, as things.update, or what was refused.
  action text NOT NULL,
  entity text NOT NULL,
  entity_id text NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('done', 'denied')),
  -- user, thing, system, nobody.
  actor_kind text NOT NULL,
  actor text,
  actor_name text,
  -- API key or application by which the actor came.
  via text,
  address text,
  protocol text,
  -- Of a denial that came again and again: how often.
  count integer NOT NULL DEFAULT 1,
  detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_org ON registry.audit (org, at DESC, id DESC);
CREATE INDEX audit_entity ON registry.audit (entity, entity_id, at DESC);
CREATE INDEX audit_actor ON registry.audit (actor, at DESC) WHERE actor IS NOT NULL;
CREATE INDEX audit_at ON registry.audit (at, id);
-- What was written down stays as it was; only age takes it away.
CREATE FUNCTION registry.refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit can only be added to';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE ON registry.audit FOR EACH STATEMENT EXECUTE FUNCTION registry.refuse_update();
`;
