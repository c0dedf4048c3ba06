/** The platform's own authorities and what they issued; authorities of organisations and what came in by them. */
export const name = 'certificates';
export const sql = `
-- The root (org null), and the authorities below it, each of which issues for one organisation. The newest is in use;
-- older ones stay for what they issued.
CREATE TABLE registry.issuers (
  id uuid PRIMARY KEY,
  org uuid REFERENCES registry.orgs ON DELETE CASCADE,
  root uuid REFERENCES registry.issuers,
  serial text NOT NULL,
  -- PEM
  certificate text NOT NULL,
  -- PKCS #8, sealed
  key_sealed text NOT NULL,
  -- How a question of OCSP may name it: hash algorithm, hash of the name, hash of the key.
  ocsp_names text[] NOT NULL,
  expires_at timestamptz NOT NULL,
  crl_number bigint NOT NULL DEFAULT 0,
  -- The list of what it revoked, DER; null when it must be made anew.
  crl bytea,
  crl_stale_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT issuers_serial_unique UNIQUE (serial),
  CHECK ((org IS NULL) = (root IS NULL))
);
CREATE INDEX issuers_org ON registry.issuers (org, expires_at);
CREATE INDEX issuers_ocsp ON registry.issuers USING gin (ocsp_names);

CREATE TABLE registry.issued_certificates (
  -- Hex in lower case; of 16 bytes.
  serial text PRIMARY KEY,
  issuer uuid NOT NULL REFERENCES registry.issuers ON DELETE CASCADE,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  -- No reference: what a deleted thing had stays on the list of what is revoked.
  thing uuid NOT NULL,
  fingerprint text NOT NULL,
  certificate text NOT NULL,
  key_type text NOT NULL,
  not_before timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  -- It was renewed: holds until then.
  superseded_at timestamptz,
  successor text,
  revoked_at timestamptz,
  reason text CHECK ((reason IS NULL) = (revoked_at IS NULL)),
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT issued_certificates_fingerprint_unique UNIQUE (fingerprint)
);
CREATE INDEX issued_certificates_thing ON registry.issued_certificates (thing);
CREATE INDEX issued_certificates_org ON registry.issued_certificates (org, created_at, serial);
CREATE INDEX issued_certificates_issuer ON registry.issued_certificates (issuer, expires_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX issued_certificates_superseded ON registry.issued_certificates (superseded_at)
  WHERE superseded_at IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX issued_certificates_expires ON registry.issued_certificates (expires_at);
CREATE FUNCTION registry.revoke_certificates() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  WITH revoked AS (
    UPDATE registry.issued_certificates SET revoked_at = now(), reason = 'cessationOfOperation'
    WHERE thing IN (SELECT id FROM gone) AND revoked_at IS NULL RETURNING issuer)
  UPDATE registry.issuers SET crl = NULL WHERE id IN (SELECT issuer FROM revoked);
  RETURN NULL;
END $$;
CREATE TRIGGER things_revoke_certificates AFTER DELETE ON registry.things
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION registry.revoke_certificates();

-- Authorities that organisations brought.
CREATE TABLE registry.authorities (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  name text NOT NULL,
  certificate text NOT NULL,
  subject text NOT NULL,
  fingerprint text NOT NULL,
  -- SHA-256 of the public key: an authority is its key, however often its certificate is renewed.
  key_digest text NOT NULL,
  not_before timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  -- Just-in-time registration, as the API gives it; null: off.
  jit jsonb,
  -- Registrations of the minute that began then.
  minute_at timestamptz NOT NULL DEFAULT '-infinity',
  minute_count integer NOT NULL DEFAULT 0,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT authorities_authority_unique UNIQUE (key_digest)
);
CREATE INDEX authorities_org ON registry.authorities (org, created_at, id);
CREATE INDEX authorities_jit ON registry.authorities (md5(subject)) WHERE jit IS NOT NULL;
-- What came in by an authority. It stays when the thing has gone, so that a deleted thing does not come back.
CREATE TABLE registry.jit_registrations (
  fingerprint text PRIMARY KEY,
  authority uuid NOT NULL REFERENCES registry.authorities ON DELETE CASCADE,
  thing uuid NOT NULL,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX jit_registrations_authority ON registry.jit_registrations (authority, created_at, fingerprint);
`;
