/** Aliases of organisations, invitations, what is proved by mail, and mails that wait to be sent. */
export const name = 'people';
export const sql = `
ALTER TABLE registry.orgs
  ADD COLUMN alias text,
  ADD CONSTRAINT orgs_handle_unique UNIQUE (alias);
CREATE INDEX orgs_created ON registry.orgs (created_at, id);
CREATE INDEX orgs_metadata ON registry.orgs USING gin (metadata jsonb_path_ops);
CREATE INDEX users_created ON registry.users (created_at, id);
CREATE INDEX users_metadata ON registry.users USING gin (metadata jsonb_path_ops);
CREATE INDEX roles_org_created ON registry.roles (org, created_at, id);
CREATE INDEX group_roles_custom ON registry.group_roles (custom_role) WHERE custom_role IS NOT NULL;
CREATE INDEX refresh_tokens_user ON registry.refresh_tokens (user_id);
-- The user's own when the session began: it ends with all others, also where it is just being renewed.
ALTER TABLE registry.refresh_tokens ADD COLUMN epoch integer NOT NULL DEFAULT 0;
UPDATE registry.refresh_tokens SET epoch = users.epoch FROM registry.users WHERE users.id = user_id;

CREATE TABLE registry.invitations (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  email text NOT NULL,
  role text CHECK (role IN ('owner', 'admin', 'editor', 'viewer')),
  custom_role uuid,
  -- Of the token that was mailed; null once it is answered.
  digest text,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'accepted', 'declined', 'revoked')),
  inviter uuid REFERENCES registry.users ON DELETE SET NULL,
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT invitations_token_unique UNIQUE (digest),
  CONSTRAINT invitations_custom_role FOREIGN KEY (org, custom_role) REFERENCES registry.roles (org, id) ON DELETE CASCADE,
  CONSTRAINT invitations_one_role CHECK ((role IS NULL) <> (custom_role IS NULL))
);
-- Who is invited again gets a new token; the old one is void.
CREATE UNIQUE INDEX invitations_pending ON registry.invitations (org, email) WHERE state = 'pending';
CREATE INDEX invitations_org_created ON registry.invitations (org, created_at, id);
CREATE INDEX invitations_email ON registry.invitations (email, created_at);
CREATE INDEX invitations_custom ON registry.invitations (custom_role) WHERE custom_role IS NOT NULL;
CREATE INDEX invitations_inviter ON registry.invitations (inviter, created_at);

-- Who shows such a token reads the mails of this address. Good once.
CREATE TABLE registry.mailed_tokens (
  digest text PRIMARY KEY,
  purpose text NOT NULL CHECK (purpose IN ('reset', 'verify', 'change')),
  user_id uuid NOT NULL REFERENCES registry.users ON DELETE CASCADE,
  email text NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX mailed_tokens_user ON registry.mailed_tokens (user_id, purpose);
CREATE INDEX mailed_tokens_expires ON registry.mailed_tokens (expires_at);

-- The outbox: a mail commits with what caused it, and is sent by whichever node comes first.
CREATE TABLE registry.mails (
  id uuid PRIMARY KEY,
  -- Recipient, subject and text, sealed: the text holds a token.
  sealed text NOT NULL,
  tries integer NOT NULL DEFAULT 0,
  next_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX mails_next ON registry.mails (next_at);
`;
