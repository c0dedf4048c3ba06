/** Organisations, users, things, channels, connections, tokens, signing keys, and the outbox of changes. */
export const name = 'control-plane';
export const sql = `
CREATE TABLE registry.orgs (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE registry.users (
  id uuid PRIMARY KEY,
  email text NOT NULL,
  password_hash text NOT NULL,
  admin boolean NOT NULL DEFAULT false,
  enabled boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT users_email_unique UNIQUE (email)
);
CREATE TABLE registry.memberships (
  user_id uuid NOT NULL REFERENCES registry.users ON DELETE CASCADE,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  role text NOT NULL CHECK (role IN ('owner', 'admin', 'editor', 'viewer')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, org)
);
CREATE INDEX memberships_org ON registry.memberships (org);
CREATE TABLE registry.things (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  name text NOT NULL,
  type text NOT NULL CHECK (type IN ('device', 'gateway', 'app')),
  key_digest text NOT NULL,
  key_sealed text NOT NULL,
  enabled boolean NOT NULL DEFAULT true,
  metadata jsonb NOT NULL DEFAULT '{}',
  tags text[] NOT NULL DEFAULT '{}',
  external_id text,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT things_key_unique UNIQUE (key_digest),
  CONSTRAINT things_external_unique UNIQUE (org, external_id)
);
CREATE INDEX things_org_created ON registry.things (org, created_at, id);
CREATE INDEX things_metadata ON registry.things USING gin (metadata jsonb_path_ops);
CREATE TABLE registry.channels (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  name text NOT NULL,
  alias text,
  enabled boolean NOT NULL DEFAULT true,
  metadata jsonb NOT NULL DEFAULT '{}',
  tags text[] NOT NULL DEFAULT '{}',
  content_type text,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT channels_alias_unique UNIQUE (org, alias)
);
CREATE INDEX channels_org_created ON registry.channels (org, created_at, id);
CREATE INDEX channels_metadata ON registry.channels USING gin (metadata jsonb_path_ops);
CREATE TABLE registry.connections (
  thing uuid NOT NULL REFERENCES registry.things ON DELETE CASCADE,
  channel uuid NOT NULL REFERENCES registry.channels ON DELETE CASCADE,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  publish boolean NOT NULL,
  subscribe boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (thing, channel),
  CHECK (publish OR subscribe)
);
CREATE INDEX connections_channel ON registry.connections (channel);
CREATE TABLE registry.refresh_tokens (
  digest text PRIMARY KEY,
  family uuid NOT NULL,
  user_id uuid NOT NULL REFERENCES registry.users ON DELETE CASCADE,
  expires_at timestamptz NOT NULL,
  used_at timestamptz
);
CREATE INDEX refresh_tokens_family ON registry.refresh_tokens (family);
CREATE INDEX refresh_tokens_expires ON registry.refresh_tokens (expires_at);
CREATE TABLE registry.signing_keys (
  id uuid PRIMARY KEY,
  sealed text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE registry.settings (
  name text PRIMARY KEY,
  value jsonb NOT NULL
);
CREATE TABLE registry.changes (
  version bigserial PRIMARY KEY,
  entity text NOT NULL,
  id text NOT NULL,
  org uuid,
  voids text[] NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);
`;
