// The generator of certificates wants it before all else.
import 'reflect-metadata';
import { createHash, webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  type X509Certificate,
  type X509CertificateCreateParamsName,
  X509CertificateGenerator,
} from '@peculiar/x509';

export { BasicConstraintsExtension, ExtendedKeyUsage, Extension, KeyUsageFlags, KeyUsagesExtension };

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

export interface Issued {
  readonly pem: string;
  readonly der: Uint8Array;
  /** SHA-256, hex. */
  readonly fingerprint: string;
}
export interface IssueOptions {
  readonly name?: X509CertificateCreateParamsName;
  readonly fromMs?: number;
  readonly untilMs?: number;
  readonly usages?: readonly ExtendedKeyUsage[];
  /** Beside the usages. */
  readonly extensions?: readonly Extension[];
  /** Of the signature; SHA-256 if left out. */
  readonly hash?: string;
}

/** An authority of a test's own. */
export class TestAuthority {
  readonly #keys: webcrypto.CryptoKeyPair;
  readonly #certificate: X509Certificate;

  private constructor(keys: webcrypto.CryptoKeyPair, certificate: X509Certificate) {
    this.#keys = keys;
    this.#certificate = certificate;
  }

  /** @param ca whether its certificate says that it is one */
  static async create(
    name: string,
    { ca = true, ...validity }: { ca?: boolean; fromMs?: number; untilMs?: number } = {},
  ): Promise<TestAuthority> {
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: `CN=${name}`,
      keys,
      signingAlgorithm: ALGORITHM,
      ...dates(validity),
      extensions: ca
        ? [
            new BasicConstraintsExtension(true, undefined, true),
            new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
          ]
        : [],
    });
    return new TestAuthority(keys, certificate);
  }

  get name(): string {
    return this.#certificate.subjectName.getField('CN')[0] ?? '';
  }

  get own(): Issued {
    return issued(this.#certificate);
  }

  async issue(
    commonName: string,
    { name, usages, extensions = [], hash = 'SHA-256', ...validity }: IssueOptions = {},
  ): Promise<Issued> {
    const keys = await newKeys();
    const certificate = await X509CertificateGenerator.create({
      subject: name ?? `CN=${commonName}`,
      issuer: this.#certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: { ...ALGORITHM, hash },
      ...dates(validity),
      extensions: [...(usages === undefined ? [] : [new ExtendedKeyUsageExtension([...usages])]), ...extensions],
    });
    return issued(certificate);
  }
}

const newKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);

const dates = ({ fromMs = Date.now() - DAY_MS, untilMs = Date.now() + DAY_MS }: IssueOptions) => ({
  notBefore: new Date(fromMs),
  notAfter: new Date(untilMs),
});

function issued(certificate: X509Certificate): Issued {
  const der = new Uint8Array(certificate.rawData);
  return { pem: certificate.toString('pem'), der, fingerprint: createHash('sha256').update(der).digest('hex') };
}

/** An authority with an RSA key of 8,200 bits, which takes long to make. */
export const LARGE_AUTHORITY: string = [
  '-----BEGIN CERTIFICATE-----',
  'MIIJBTCCBOygAwIBAgIUboZCbOUJRjBgqFN46DQ5ieKLgQQwDQYJKoZIhvcNAQELBQAwEDEOMAwGA1UEAwwFbGFyZ2UwIBcNMjYxMTIxMTA0ODIwWhgPMjEyNjEwMjgxMDQ4MjBaMBAxDjAMBgNVBAMMBWxhcmdlMIIEIzANBgkqhkiG9w0BAQEFAAOCBBAAMIIECwKCBAIAr4iXLKYr07mjia3bbeljeHH8/DfErbWwM0dXwAxQmyhkimnuVjocK6wqABFHtVEZXYnnFv4M6q0Y2ILMZvYNrDCgGJz+cnaoBpckr+CqIYwjIz/MpXIHVTukhcSLmcwwNOT58R9pmwehgvJKgXhfjlm+FoJl387oIC2vxwCVCHKGxJESQ12TLWybU/tTzfdJ4BylmuG/XoH7+UL817QpyTdtWmxwx7ri15TDlbRNKBWzR0uhQrCl1B6GFrLggz2hybC6ac8jQUwZfXJJcYEZp2rhmeqYQ/B2HEM3XGnREcb+JnXixQ5vaNiqf+r3HMl2aAnaAEaQmaXbCXHAe/NHjtLfLnN+3x/WjfX6GtlF4wNl+XZKJdG2S8sQw+4TM9mtsYFpQrwSQMRKhbAOGHUuTNAXdBc1MR/Z5wP+buwqLIHfKq12aDNrfAnhYAm4O6C1HUX/LsaSgP+j8HDeAsFSs7oLNiyqnCWOC/9w2KkWba1lX8WyqDRUqqyeOQ7rwPY/IvDm7SVrHANicdvmmt7S2/jymvQVhXynMp4hi85HZY4AGYZThLndQasFO5PbIPcIC3M7dsA6BeKnj/mCEvo7xcbi8HJywUJDR/NGk/lhhpUwlbEEphNnOqfwLzHLAAZqgDNE9wx3n1zEZWqCUqpmvIYdfW98L9ld7Nm+Pbz76slk5wn9S2J0Wca/7GzN/A6kB0ZNsqW1Txl7zorEydN4LJ37JEOnoQP4A6G595NSVlkH57nR+HP9Hx4FP/vpt7/3lplqfAjmtn9xOL/RuE+YdBr4ZJAMY/Nj/9DriWUcVujhzC0IYcl5Tp8GNBAJlboE3r7uTCea9Ps5gBlz3Z4m0HwMsHqWJOPF0iFy/7nE73IVqiJ7n9RRgOq6UlrbcxCfi0IVodg7qcKiVO4owjiTkQyRKG5rm6sS0dqC91vQ4Dz9BiW6nhj4RVifoOGrntHQhvz43Iq9ne+fRXBMCJ+w7guGZ/+XRvYhK0DJwrfXSlUx+HGfT5eD4l+fIvbfArwIGAhJ7fgT5jCgRJHw2WmVPLKCGJOVhtWeDnIDhwR7q+5VaQ+CwWkFoRFCQNpe+lt7U0YO15uWeFC1D0+D22lJsE20QJhYyCORFI3gDvMQOAP7O38hW/8A0wo3Y3rBxXkrvhFUwXxB2raUgi7nfaitoWXDDl/6Me5ETK4NNirT/Uqipo0gr9fc+3ATZ5DL34GtOYbvmTgxC8cZiyaTAS3oFzTwfPkVIEb2hTiM/IQhQP4awhd5FJywkuQvk0Uzg8ful+0iMbT/AGX+MWhz7Xl2IlS08c5W+2xLR002k8LBMn4a8CFqUzy7prxnUMBGx7aB7GA17LIe2hncCYyuq/xYht0CAwEAAaNTMFEwHQYDVR0OBBYEFAIxq86wz97SkJG1yrvS4w3NU1fVMB8GA1UdIwQYMBaAFAIxq86wz97SkJG1yrvS4w3NU1fVMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggQCAGJgmmIMT4R8qOixkY77Vf354AGKSZZ/kXXe4fTBkJRgFBR59zDxsrBooxCw/q7hbCMN8fT1zDfW+GH8kqAIqh5Fj7o1PGPWdwVmZNtVI5m/iPwCAT2B+8PyHcuOBIxInK8uNz02Oauv+MmDyRmVJt8cyYWi8g66tDXbyAh1vDdpgK4qy1+roA5GYoIRa8nbk0QyQe54lc4bsmKjj2y2l9G9c5l/5vGGSfJH5VDE51iIEFEipjzHjhqSMhO5/1YhACols+Xe8c3cA3Lvl5lsEofbRcyILyKGou939zbVV1mdVtMHGP6U8Fdm0p1qPLbEjqpfOPaqhQNYlfE4tsV1npJqqxhdvYSXRUKmgqwaXa/Tf2j6oGnrrkYaUsCS+0nxRSe5QqOjZ20B5Qqia+l/ZtlDJ2rU7Hw0MHhBxxZAIt8r8skcBsqcEjzaWfkFA2VP3Nk4S64/RAGaElStYgb62BNkdt8QbkRPMqvzfaseqGbSfEaZJpsnuAsGdU378+no15s50PcZLeGi0u8JvV2wOWV5vEQgpyB+LIOyyIWjgl2B8xsOoiMg9M69+r/XK/kAdrH5hfiQI7tDeEFyjz1eyxN5tflXirZ2O8BoPyGCOE/AOEYFNfKUSXsC23A1lLOtKZM51s6ExBazCG1yPnl9baRncH0IpjA/Xd7OCPj6WTVzS7vTfsZpKsmg4h5GrZn4hl75QGrAeewX6lCcrXuedUcW4i4+eyf8o0WfArTK3rFxF528OyTEo8dZQ+3wx0PwinsoM9tPJfpdMbE7f8w6WA3EnRerbDENWmQgqpqDVXVrtOLAme70mvey7l8KSvt6CnIgov/aSR9FZ0gvy2jH+gE1qQTgMG5MFAECAA9pakBvdAWUrEaKDad7KeT6SjWrALYbQlvXDY8a2CuWBo7Xf2PPXnjNZwJ0b4k0QNG7gLydYOY45f/HSmMG2jqAk9Rw7bLEXhh3EDW7yS3D4wG5bu6hK8ufkR1UcgP0UglZT+s6XUwZSI2aExq+ThdsOi8wjV7nxo4fKYFAByGYXfygR3sm8LZB2U2EauRY35XT8+CEIpGit5qbK+/myoqsdjStdbxYZxFw6rkY1j2EQyCVfjV4qi+T13PHkqdlxtCf4kUaP7TZ0f8SUnZ5/Jw7VRVeOyhdOVqQUkn/iOYEKzOuJekpeU0aTYTRqHo0bgULkkH7YEJqand5cFN3vtdOxPocmGX79rRqswJ1E/wV8Esh9JhHzzgDtOEnXMbgb2sCOrmRYlr0J2qlHWR4Ox5CG7pOOJrYW3It6FsxD36jIsqRCxY7tdzThqL7KcjrVj2B0Ucr/a1LLRvPJ/Y5fq4IAvCO0ZU1HsMurWqXVEI3qDvOamS/',
  '-----END CERTIFICATE-----',
].join('\n');
