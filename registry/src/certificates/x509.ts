type Library = typeof import('./x509-library.ts');

let loading: Promise<Library> | undefined;

/** The library of certificates. Loaded at first use: most nodes never issue one, and it takes some megabytes. */
export function x509(): Promise<Library> {
  loading ??= import('./x509-library.ts');
  return loading;
}

/** Extensions that are judged here, or that cannot widen what a certificate may do.
 *  @shape key usage, alternative names, basic constraints, CRL distribution points, policies, authority key, extended key usage,
 *         subject key, authority information access */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  '2.5.29.15',
  '2.5.29.17',
  '2.5.29.19',
  '2.5.29.31',
  '2.5.29.32',
  '2.5.29.35',
  '2.5.29.37',
  '2.5.29.14',
  '1.3.6.1.5.5.7.1.1',
]);

/** What must not be ignored, but would be.  @throws never: what cannot be read counts as not understood
 *  @source RFC 5280 §4.2 */
export async function hasUnknownCritical(der: Uint8Array): Promise<boolean> {
  const { X509Certificate } = await x509();
  try {
    const { extensions } = new X509Certificate(Uint8Array.from(der));
    return extensions.some(({ critical, type }) => critical && !UNDERSTOOD.has(type));
  } catch {
    return true;
  }
}
