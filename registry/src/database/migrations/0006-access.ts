/** What policies and API keys have beside; what goes when somebody or something goes. */
export const name = 'access';
export const sql = `
-- version counts all changes (ETag); this one those of the statements: the row of policy_versions that is in force.
ALTER TABLE registry.policies ADD COLUMN statements_version integer NOT NULL DEFAULT 1;
CREATE INDEX policies_org_created ON registry.policies (org, created_at, id);
CREATE INDEX policies_metadata ON registry.policies USING gin (metadata jsonb_path_ops);
ALTER TABLE registry.api_keys
  ADD COLUMN enabled boolean NOT NULL DEFAULT true,
  ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN tags text[] NOT NULL DEFAULT '{}',
  ADD COLUMN version integer NOT NULL DEFAULT 1,
  ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();

-- Ids can be given: what comes later under the same id must not find the rights of what was there before.
CREATE FUNCTION registry.detach_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM registry.policy_attachments AS attached USING gone
  WHERE attached.org = gone.org AND attached.target = gone.id::text AND attached.kind = ANY (TG_ARGV[0]::text[]);
  RETURN NULL;
END $$;
CREATE TRIGGER things_detach AFTER DELETE ON registry.things
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION registry.detach_gone('{thing,app}');
CREATE TRIGGER groups_detach AFTER DELETE ON registry.groups
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION registry.detach_gone('{group}');
CREATE TRIGGER roles_detach AFTER DELETE ON registry.roles
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION registry.detach_gone('{role}');
-- Who leaves an organisation leaves everything that was theirs in it, also for the case that they come back.
CREATE FUNCTION registry.forget_member() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM registry.policy_attachments AS attached USING gone
  WHERE attached.org = gone.org AND attached.kind = 'user' AND attached.target = gone.user_id::text;
  DELETE FROM registry.group_roles AS held USING gone WHERE held.user_id = gone.user_id AND held.org = gone.org;
  DELETE FROM registry.api_keys USING gone WHERE api_keys.user_id = gone.user_id AND api_keys.org = gone.org;
  DELETE FROM registry.oauth_grants AS granted USING gone WHERE granted.user_id = gone.user_id AND granted.org = gone.org;
  -- Nor do they come back as somebody whom they invited in time.
  UPDATE registry.invitations AS invited SET state = 'revoked', digest = NULL, updated_at = now() FROM gone
  WHERE invited.inviter = gone.user_id AND invited.org = gone.org AND invited.state = 'pending';
  RETURN NULL;
END $$;
CREATE TRIGGER memberships_forget AFTER DELETE ON registry.memberships
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION registry.forget_member();

-- A token names its subject by id alone: nobody may make a thing under a user's id, nor a user under a thing's.
CREATE FUNCTION registry.refuse_other_subject() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE taken boolean;
BEGIN
  IF TG_TABLE_NAME = 'things' THEN
    SELECT EXISTS (SELECT 1 FROM came JOIN registry.users USING (id)) INTO taken;
  ELSE
    SELECT EXISTS (SELECT 1 FROM came JOIN registry.things USING (id)) INTO taken;
  END IF;
  IF taken THEN
    RAISE EXCEPTION 'the id is taken' USING ERRCODE = 'unique_violation', CONSTRAINT = TG_TABLE_NAME || '_pkey';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER things_refuse_other AFTER INSERT ON registry.things
  REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION registry.refuse_other_subject();
CREATE TRIGGER users_refuse_other AFTER INSERT ON registry.users
  REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION registry.refuse_other_subject();
-- Who comes later under the id of somebody who is gone is not let in by the tokens of that one, nor the other way round.
ALTER TABLE registry.things ALTER COLUMN epoch SET DEFAULT floor(random() * 1073741824)::integer;
ALTER TABLE registry.users ALTER COLUMN epoch SET DEFAULT floor(random() * 1073741824)::integer;

-- Assertions that were shown. Not logged: each lives for minutes, and a crash of the server is over sooner than not.
CREATE UNLOGGED TABLE registry.spent_assertions (
  digest text PRIMARY KEY,
  expires_at timestamptz NOT NULL
);
CREATE INDEX spent_assertions_expires ON registry.spent_assertions (expires_at);
`;
