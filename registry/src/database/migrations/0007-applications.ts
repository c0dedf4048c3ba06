/** Applications, what people let them do, the provider's own state, and people who log in elsewhere. */
export const name = 'applications';
export const sql = `
CREATE TABLE registry.apps (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  -- Of a machine: who it is when it acts for itself, under the same id.
  thing uuid REFERENCES registry.things ON DELETE CASCADE,
  name text NOT NULL,
  description text NOT NULL DEFAULT '',
  kind text NOT NULL CHECK (kind IN ('machine', 'web', 'browser', 'native')),
  redirect_uris text[] NOT NULL DEFAULT '{}',
  post_logout_redirect_uris text[] NOT NULL DEFAULT '{}',
  -- What it may ask for at most; of a machine: empty for all that its policies give it.
  scopes text[] NOT NULL DEFAULT '{}',
  logo text,
  homepage text,
  -- null: it cannot keep a secret (browser, native).
  secret_digest text,
  -- The secret before the last rotation, which holds until then.
  previous_secret_digest text,
  previous_secret_until timestamptz,
  enabled boolean NOT NULL DEFAULT true,
  metadata jsonb NOT NULL DEFAULT '{}',
  tags text[] NOT NULL DEFAULT '{}',
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CHECK (thing IS NULL OR thing = id),
  CHECK ((kind = 'machine') = (thing IS NOT NULL))
);
CREATE INDEX apps_org_created ON registry.apps (org, created_at, id);
CREATE INDEX apps_thing ON registry.apps (thing) WHERE thing IS NOT NULL;
CREATE INDEX apps_metadata ON registry.apps USING gin (metadata jsonb_path_ops);

-- What a user lets an application do in one organisation.
CREATE TABLE registry.oauth_grants (
  id uuid PRIMARY KEY,
  app uuid NOT NULL REFERENCES registry.apps ON DELETE CASCADE,
  user_id uuid NOT NULL REFERENCES registry.users ON DELETE CASCADE,
  -- null: good for nothing but to know who the user is.
  org uuid REFERENCES registry.orgs ON DELETE CASCADE,
  -- As oidc-provider has it: scopes that were granted and rejected.
  payload jsonb NOT NULL,
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX oauth_grants_user ON registry.oauth_grants (user_id, created_at);
CREATE INDEX oauth_grants_app ON registry.oauth_grants (app);
CREATE INDEX oauth_grants_org ON registry.oauth_grants (org);
CREATE INDEX oauth_grants_expires ON registry.oauth_grants (expires_at);

-- Codes, tokens, sessions of browsers, and requests under way. What they are called by is a secret: kept as a digest.
CREATE TABLE registry.oauth_items (
  kind text NOT NULL,
  digest text NOT NULL,
  -- Names a token that belongs to no grant.
  id uuid NOT NULL,
  -- The second name of a session.
  uid_digest text,
  grant_id uuid REFERENCES registry.oauth_grants ON DELETE CASCADE,
  app uuid REFERENCES registry.apps ON DELETE CASCADE,
  user_id uuid REFERENCES registry.users ON DELETE CASCADE,
  -- Of a session or a login under way, the user's own when it began: it ends with all others.
  epoch integer,
  scopes text[] NOT NULL DEFAULT '{}',
  sealed text NOT NULL,
  consumed_at timestamptz,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (kind, digest)
);
CREATE INDEX oauth_items_grant ON registry.oauth_items (grant_id) WHERE grant_id IS NOT NULL;
CREATE INDEX oauth_items_app ON registry.oauth_items (app) WHERE app IS NOT NULL;
CREATE INDEX oauth_items_user ON registry.oauth_items (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX oauth_items_uid ON registry.oauth_items (uid_digest) WHERE uid_digest IS NOT NULL;
CREATE INDEX oauth_items_expires ON registry.oauth_items (expires_at);

-- What ID tokens and cookies are signed with: sealed, the same on all nodes.
CREATE TABLE registry.oauth_keys (
  id uuid PRIMARY KEY,
  purpose text NOT NULL CHECK (purpose IN ('signature', 'cookie')),
  sealed text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- Who somebody is at another provider.
CREATE TABLE registry.user_identities (
  issuer text NOT NULL,
  subject text NOT NULL,
  user_id uuid NOT NULL REFERENCES registry.users ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (issuer, subject)
);
CREATE INDEX user_identities_user ON registry.user_identities (user_id);
-- Good once, for a minute: exchanged for tokens, or for the login of an authorization that is under way.
CREATE TABLE registry.login_codes (
  digest text PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES registry.users ON DELETE CASCADE,
  -- The user's own when they logged in.
  epoch integer NOT NULL,
  -- PKCE, S256.
  challenge text,
  -- Digest of the authorization's id.
  interaction text,
  expires_at timestamptz NOT NULL
);
CREATE INDEX login_codes_user ON registry.login_codes (user_id);
CREATE INDEX login_codes_expires ON registry.login_codes (expires_at);
`;
