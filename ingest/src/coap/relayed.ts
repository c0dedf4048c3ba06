import { TrustedProxies } from '../http/proxies.ts';

/** What a client is called where it is slowed down, judged and written down.
 *  @param address as the socket gave it */
export type NameClient = (address: string, port: number) => string;

/** An IPv4 client of a dual-stack socket is known by its IPv4 address, as policies name it. */
export const plainAddress = (address: string): string => (address.startsWith('::ffff:') ? address.slice(7) : address);

/** Clients are called by their addresses. Those that a balancer of datagrams passes on can't be told by it, since
 *  datagrams have no room for a header: each is the balancer and the port that it keeps for that client. That is no
 *  address, so no condition on addresses holds of it, and one that guesses or floods does not slow the others.
 *  @param balancers addresses and networks, separated by commas */
export function clientNames(balancers: string): NameClient {
  if (balancers === '') return plainAddress;
  const proxies = new TrustedProxies(balancers);
  return (address, port) => {
    const name = plainAddress(address);
    // Colons would make it an address of IPv6, of which the first half is who it is.
    return proxies.trusts(name) ? `${name.replaceAll(':', '-')}#${port}` : name;
  };
}
