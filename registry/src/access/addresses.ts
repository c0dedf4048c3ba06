import { isIP } from 'node:net';

const BITS_MAX: Readonly<Record<number, number>> = { 4: 32, 6: 128 };

/** Whether a text is an address or a CIDR block, v4 or v6. */
export function isAddressBlock(text: string): boolean {
  const [network = '', bits, ...rest] = text.split('/');
  const bitsMax = BITS_MAX[isIP(network)];
  if (bitsMax === undefined || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= bitsMax);
}
