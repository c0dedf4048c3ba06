import { createPrivateKey, X509Certificate } from 'node:crypto';

const CERTIFICATES_MAX = 32;
const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** Why a URL can not be used to reach a network server; null if it can.
 *  @param schemes with their colon, as `mqtts:` */
export function urlProblem(text: string, schemes: readonly string[]): string | null {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return 'is no URL';
  }
  if (!schemes.includes(url.protocol)) return `must begin with ${schemes.map((scheme) => `${scheme}//`).join(', ')}`;
  if (url.hostname === '') return 'names no host';
  if (url.port === '0') return 'names port 0';
  // They would be shown to whoever may read the server.
  if (url.username !== '' || url.password !== '') return 'holds credentials: they have members of their own';
  if (url.hash !== '') return 'has a fragment';
  // What its paths are put behind.
  if (url.search !== '' && /^https?:/.test(url.protocol)) return 'has a query';
  return null;
}

/** What somebody would have to own to be given what we show there. */
export function originOf(text: string): string {
  const { protocol, host } = new URL(text);
  return `${protocol}//${host}`;
}

/** The certificates of a PEM; null if it holds anything else, none, or too many. */
export function certificatesOf(pem: string): X509Certificate[] | null {
  const blocks = pem.match(BLOCK) ?? [];
  if (blocks.length === 0 || blocks.length > CERTIFICATES_MAX) return null;
  if (pem.replaceAll(BLOCK, '').includes('-----BEGIN')) return null;
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch {
    return null;
  }
}

/** Why a private key can not be used with a certificate; null if it can. */
export function keyProblem(key: string, certificate: string): string | null {
  try {
    const secret = createPrivateKey(key);
    const [own] = certificatesOf(certificate) ?? [];
    return own?.checkPrivateKey(secret) === true ? null : 'is not the key of the certificate';
  } catch {
    return 'is no private key as PEM, or needs a passphrase';
  }
}

/** Why a text is no topic filter of MQTT; null if it is one.  @source MQTT 3.1.1 §4.7.1 */
export function filterProblem(filter: string): string | null {
  if (filter.startsWith('$share/')) return 'holds a group: that is what share is for';
  const levels = filter.split('/');
  const wrong = levels.findIndex(
    (level, index) =>
      (level.includes('+') && level !== '+') || (level.includes('#') && (level !== '#' || index < levels.length - 1)),
  );
  return wrong === -1 ? null : `has a wild card in a wrong place: ${levels[wrong]}`;
}
