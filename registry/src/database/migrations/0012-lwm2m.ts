/** LwM2M accounts and registrations. */
export const name = 'lwm2m';
export const sql = `
CREATE TABLE registry.lwm2m_accounts (
  thing uuid PRIMARY KEY REFERENCES registry.things ON DELETE CASCADE,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  endpoint text NOT NULL,
  security text NOT NULL CHECK (security IN ('dtls', 'none')),
  channel uuid REFERENCES registry.channels ON DELETE SET NULL,
  observe jsonb NOT NULL DEFAULT '[]',
  -- Sealed: it may hold keys. null: no bootstrap.
  bootstrap text,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  -- In the whole installation: a device says no more than its name.
  CONSTRAINT lwm2m_accounts_endpoint_unique UNIQUE (endpoint)
);
CREATE INDEX lwm2m_accounts_org ON registry.lwm2m_accounts (org);
CREATE INDEX lwm2m_accounts_channel ON registry.lwm2m_accounts (channel) WHERE channel IS NOT NULL;
CREATE TABLE registry.lwm2m_registrations (
  thing uuid PRIMARY KEY REFERENCES registry.things ON DELETE CASCADE,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  location text NOT NULL,
  endpoint text NOT NULL,
  lwm2m_version text NOT NULL,
  binding text NOT NULL,
  queue_mode boolean NOT NULL,
  lifetime_seconds bigint NOT NULL,
  objects text[] NOT NULL,
  formats integer[] NOT NULL,
  address text NOT NULL,
  node text NOT NULL,
  secure boolean NOT NULL,
  registered_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  CONSTRAINT lwm2m_registrations_location_unique UNIQUE (location)
);
CREATE INDEX lwm2m_registrations_org ON registry.lwm2m_registrations (org, registered_at, thing);
CREATE INDEX lwm2m_registrations_expires ON registry.lwm2m_registrations (expires_at);
-- An endpoint that has no account may be a thing's external id.
CREATE INDEX things_external ON registry.things (external_id) WHERE external_id IS NOT NULL;
`;
