import { BlockList, isIP } from 'node:net';

const HOPS_MAX = 32;

/** Proxies that are believed when they say for whom they ask, and what those have shown.
 *  @source RFC 7239 §7.4, X-Forwarded-For: the client first, each proxy adds at the end whom it heard */
export class TrustedProxies {
  readonly #trusted: BlockList | null;

  /** @param text addresses and networks, separated by commas; see `isProxies` */
  constructor(text: string) {
    const networks = networksOf(text);
    this.#trusted = networks.length === 0 ? null : new BlockList();
    for (const { address, prefix } of networks) this.#trusted?.addSubnet(address, prefix, familyOf(address));
  }

  /** Who asks: the last one that no trusted proxy is.  @param peer who has connected  @param forwarded all of X-Forwarded-For, ""
   *  if there is none; from anybody else it counts nothing */
  clientOf(peer: string, forwarded: string): string {
    if (this.#trusted === null || forwarded === '') return peer;
    let client = peer;
    const heard = forwarded.split(',').slice(-HOPS_MAX);
    while (this.trusts(client)) {
      const before = plain(heard.pop() ?? '');
      // What is no address was said by somebody who is not to be believed.
      if (isIP(before) === 0) break;
      client = before;
    }
    return client;
  }

  /** Whether this is one of them. */
  trusts(client: string): boolean {
    // A link's own address names the link, too.
    const [address = ''] = client.split('%', 1);
    return isIP(address) !== 0 && this.#trusted?.check(address, familyOf(address)) === true;
  }
}

/** Whether a text names addresses and networks. */
export const isProxies = (text: string): boolean =>
  networksOf(text).every(({ address, prefix }) => {
    const version = isIP(address);
    return version !== 0 && Number.isInteger(prefix) && prefix >= 0 && prefix <= (version === 4 ? 32 : 128);
  });

/** Whether whoever connects is one of them, so that anybody can say who they are. */
export const trustsEverybody = (text: string): boolean => networksOf(text).some(({ prefix }) => prefix === 0);

function networksOf(text: string): { readonly address: string; readonly prefix: number }[] {
  const parts = text.split(',').map((part) => part.trim());
  return parts
    .filter((part) => part !== '')
    .map((part) => {
      const [address = '', length, ...rest] = part.split('/');
      const whole = isIP(address) === 4 ? 32 : 128;
      const isNumber = length !== undefined && /^\d{1,3}$/.test(length) && rest.length === 0;
      return { address, prefix: length === undefined ? whole : isNumber ? Number(length) : Number.NaN };
    });
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 4 ? 'ipv4' : 'ipv6');

/** Some add the port, or write IPv4 as IPv6. */
function plain(hop: string): string {
  const text = hop.trim();
  const [, bracketed] = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(text) ?? [];
  const [, beforePort] = /^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/.exec(text) ?? [];
  return (bracketed ?? beforePort ?? text).replace(/^::ffff:(?=\d+\.)/i, '');
}
