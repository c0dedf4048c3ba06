/** Roles, groups, policies and API keys; what organisations, users, things and channels have beside. */
export const name = 'tenancy';
export const sql = `
ALTER TABLE registry.orgs
  ADD COLUMN frozen boolean NOT NULL DEFAULT false,
  ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN tags text[] NOT NULL DEFAULT '{}',
  ADD COLUMN version integer NOT NULL DEFAULT 1,
  ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE registry.users
  -- null: comes in by another provider only.
  ALTER COLUMN password_hash DROP NOT NULL,
  ADD COLUMN name text NOT NULL DEFAULT '',
  ADD COLUMN picture text,
  ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN tags text[] NOT NULL DEFAULT '{}',
  ADD COLUMN email_verified_at timestamptz,
  -- Raised to void all access tokens that were issued before.
  ADD COLUMN epoch integer NOT NULL DEFAULT 0,
  ADD COLUMN version integer NOT NULL DEFAULT 1,
  ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();

-- Its owner's when it was made: a ticket ends with what it was got by.
ALTER TABLE registry.tickets ADD COLUMN epoch integer;

CREATE TABLE registry.roles (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  name text NOT NULL,
  description text NOT NULL DEFAULT '',
  actions text[] NOT NULL,
  metadata jsonb NOT NULL DEFAULT '{}',
  tags text[] NOT NULL DEFAULT '{}',
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT roles_name_unique UNIQUE (org, name),
  CONSTRAINT roles_place_unique UNIQUE (org, id)
);
-- A role is built in (role) or the organisation's own (custom_role).
ALTER TABLE registry.memberships
  ALTER COLUMN role DROP NOT NULL,
  ADD COLUMN custom_role uuid,
  ADD CONSTRAINT memberships_custom_role FOREIGN KEY (org, custom_role) REFERENCES registry.roles (org, id),
  ADD CONSTRAINT memberships_one_role CHECK ((role IS NULL) <> (custom_role IS NULL));
CREATE INDEX memberships_custom ON registry.memberships (custom_role) WHERE custom_role IS NOT NULL;

CREATE TABLE registry.groups (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  parent uuid,
  -- From the root to the parent: a tree is read, and a branch found, without recursion.
  ancestors uuid[] NOT NULL DEFAULT '{}',
  name text NOT NULL,
  description text NOT NULL DEFAULT '',
  enabled boolean NOT NULL DEFAULT true,
  -- Enabled, as are all that it is below: what is in a group that is not counts as disabled.
  active boolean NOT NULL DEFAULT true,
  metadata jsonb NOT NULL DEFAULT '{}',
  tags text[] NOT NULL DEFAULT '{}',
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT groups_place_unique UNIQUE (org, id),
  CONSTRAINT groups_parent FOREIGN KEY (org, parent) REFERENCES registry.groups (org, id)
);
CREATE INDEX groups_ancestors ON registry.groups USING gin (ancestors);
CREATE INDEX groups_parent ON registry.groups (parent);
CREATE INDEX groups_org_created ON registry.groups (org, created_at, id);
CREATE INDEX groups_metadata ON registry.groups USING gin (metadata jsonb_path_ops);
-- What somebody is in one group and in all below it; who leaves the organisation keeps nothing.
CREATE TABLE registry.group_roles (
  group_id uuid NOT NULL,
  user_id uuid NOT NULL,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  role text CHECK (role IN ('owner', 'admin', 'editor', 'viewer')),
  custom_role uuid,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (group_id, user_id),
  FOREIGN KEY (user_id, org) REFERENCES registry.memberships (user_id, org) ON DELETE CASCADE,
  FOREIGN KEY (org, group_id) REFERENCES registry.groups (org, id) ON DELETE CASCADE,
  FOREIGN KEY (org, custom_role) REFERENCES registry.roles (org, id),
  CHECK ((role IS NULL) <> (custom_role IS NULL))
);
CREATE INDEX group_roles_user ON registry.group_roles (user_id, org);

ALTER TABLE registry.things
  ADD COLUMN group_id uuid,
  ADD COLUMN gateway uuid REFERENCES registry.things ON DELETE SET NULL,
  ADD COLUMN external_key_digest text,
  ADD COLUMN external_key_sealed text,
  -- The key before the last rotation, which holds until then.
  ADD COLUMN previous_key_digest text,
  ADD COLUMN previous_key_until timestamptz,
  ADD COLUMN epoch integer NOT NULL DEFAULT 0,
  ADD CONSTRAINT things_previous_unique UNIQUE (previous_key_digest),
  ADD CONSTRAINT things_group FOREIGN KEY (org, group_id) REFERENCES registry.groups (org, id) ON DELETE SET NULL (group_id);
CREATE INDEX things_group ON registry.things (group_id) WHERE group_id IS NOT NULL;
CREATE INDEX things_gateway ON registry.things (gateway) WHERE gateway IS NOT NULL;
ALTER TABLE registry.channels
  ADD COLUMN group_id uuid,
  -- ChannelProfile and ChannelLimits of core/src/ports/directory.ts, as they are there.
  ADD COLUMN profile jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN limits jsonb NOT NULL DEFAULT '{}',
  ADD CONSTRAINT channels_group FOREIGN KEY (org, group_id) REFERENCES registry.groups (org, id) ON DELETE SET NULL (group_id);
CREATE INDEX channels_group ON registry.channels (group_id) WHERE group_id IS NOT NULL;

CREATE TABLE registry.policies (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  name text NOT NULL,
  description text NOT NULL DEFAULT '',
  enabled boolean NOT NULL DEFAULT true,
  -- PolicyStatement[] of core/src/ports/rules.ts: those of the version that is in force.
  statements jsonb NOT NULL,
  metadata jsonb NOT NULL DEFAULT '{}',
  tags text[] NOT NULL DEFAULT '{}',
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT policies_name_unique UNIQUE (org, name),
  CONSTRAINT policies_place_unique UNIQUE (org, id)
);
CREATE TABLE registry.policy_versions (
  policy uuid NOT NULL REFERENCES registry.policies ON DELETE CASCADE,
  version integer NOT NULL,
  statements jsonb NOT NULL,
  author uuid,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (policy, version)
);
CREATE TABLE registry.policy_attachments (
  policy uuid NOT NULL,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('user', 'thing', 'app', 'group', 'role')),
  -- An id; for a built-in role its name.
  target text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (policy, kind, target),
  FOREIGN KEY (org, policy) REFERENCES registry.policies (org, id) ON DELETE CASCADE
);
CREATE INDEX policy_attachments_target ON registry.policy_attachments (org, target, kind);

CREATE TABLE registry.api_keys (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  -- Whose rights it carries a part of.
  user_id uuid NOT NULL REFERENCES registry.users ON DELETE CASCADE,
  name text NOT NULL,
  digest text NOT NULL,
  -- Scope.grants of core/src/ports/directory.ts.
  grants jsonb NOT NULL,
  expires_at timestamptz,
  last_used_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT api_keys_key_unique UNIQUE (digest)
);
CREATE INDEX api_keys_user ON registry.api_keys (user_id, org);
CREATE INDEX api_keys_org ON registry.api_keys (org, created_at, id);
`;
