/** How a unit is converted to the first unit of its dimension: value × factor + offset. */
interface Conversion {
  readonly dimension: string;
  readonly factor: number;
  readonly offset: number;
}

/** Dimensions by their first unit, and what one of each other unit is in it; a pair is factor and offset.
 *  SenML's registered units (RFC 8428 §12.1, RFC 8798 §3) and usual names beside them.
 *  @source https://www.iana.org/assignments/senml/senml.xhtml */
const DIMENSIONS: Readonly<Record<string, Readonly<Record<string, number | readonly [number, number]>>>> = {
  m: { mm: 1e-3, cm: 1e-2, km: 1e3, um: 1e-6, in: 0.0254, ft: 0.3048, yd: 0.9144, mi: 1_609.344, nmi: 1_852 },
  kg: { g: 1e-3, mg: 1e-6, ug: 1e-9, t: 1e3, lb: 0.453_592_37, oz: 0.028_349_523_125 },
  s: { ns: 1e-9, us: 1e-6, ms: 1e-3, min: 60, h: 3_600, d: 86_400 },
  A: { mA: 1e-3, uA: 1e-6, kA: 1e3 },
  // Not kelvin: what is exact in degrees stays so.
  Cel: {
    degC: 1,
    '°C': 1,
    K: [1, -273.15],
    mK: [1e-3, -273.15],
    degF: [5 / 9, -160 / 9],
    '°F': [5 / 9, -160 / 9],
  },
  Hz: { mHz: 1e-3, kHz: 1e3, MHz: 1e6, GHz: 1e9 },
  rad: { deg: Math.PI / 180, '°': Math.PI / 180 },
  N: { mN: 1e-3, kN: 1e3 },
  Pa: {
    hPa: 100,
    kPa: 1e3,
    MPa: 1e6,
    mbar: 100,
    bar: 1e5,
    atm: 101_325,
    psi: 6_894.757_293_168_361,
    mmHg: 133.322_387_415,
  },
  J: { mJ: 1e-3, kJ: 1e3, MJ: 1e6, GJ: 1e9, Wh: 3_600, kWh: 3.6e6, MWh: 3.6e9, cal: 4.184, kcal: 4_184 },
  W: { uW: 1e-6, mW: 1e-3, kW: 1e3, MW: 1e6, GW: 1e9 },
  C: { Ah: 3_600, mAh: 3.6 },
  V: { uV: 1e-6, mV: 1e-3, kV: 1e3 },
  F: { mF: 1e-3, uF: 1e-6, nF: 1e-9, pF: 1e-12 },
  Ohm: { mOhm: 1e-3, kOhm: 1e3, MOhm: 1e6 },
  S: { mS: 1e-3, uS: 1e-6 },
  T: { mT: 1e-3, uT: 1e-6 },
  H: { mH: 1e-3, uH: 1e-6 },
  lx: { klx: 1e3 },
  m2: { cm2: 1e-4, km2: 1e6, ha: 1e4 },
  m3: { l: 1e-3, L: 1e-3, ml: 1e-6, mL: 1e-6, cm3: 1e-6, gal: 0.003_785_411_784 },
  'm/s': { 'km/h': 1 / 3.6, 'm/h': 1 / 3_600, 'mm/h': 1 / 3.6e6, 'mm/s': 1e-3, mph: 0.447_04, kn: 1_852 / 3_600 },
  'm/s2': { g0: 9.806_65 },
  'm3/s': { 'l/s': 1e-3, 'm3/h': 1 / 3_600, 'l/min': 1e-3 / 60, 'l/h': 1e-3 / 3_600 },
  'W/m2': { 'kW/m2': 1e3 },
  bit: {
    kbit: 1e3,
    Mbit: 1e6,
    B: 8,
    kB: 8e3,
    MB: 8e6,
    GB: 8e9,
    TB: 8e12,
    KiB: 8_192,
    MiB: 8 * 2 ** 20,
    GiB: 8 * 2 ** 30,
  },
  'bit/s': { 'kbit/s': 1e3, 'Mbit/s': 1e6, 'Gbit/s': 1e9, 'B/s': 8, 'kB/s': 8e3, 'MB/s': 8e6 },
  '1/s': { '1/min': 1 / 60, '1/h': 1 / 3_600, rpm: 1 / 60, 'beat/min': 1 / 60, bpm: 1 / 60 },
  '/': { '%': 1e-2, '/100': 1e-2, '/1000': 1e-3, ppm: 1e-6, ppb: 1e-9 },
  dBW: { dBm: [1, -30] },
  VA: { kVA: 1e3, MVA: 1e6 },
  VAs: { VAh: 3_600, kVAh: 3.6e6 },
  var: { kvar: 1e3, Mvar: 1e6 },
  vars: { varh: 3_600, kvarh: 3.6e6 },
  'J/m': { 'Wh/km': 3.6, 'kWh/km': 3_600 },
  'kg/m3': { 'g/m3': 1e-3, 'mg/m3': 1e-6, 'ug/m3': 1e-9 },
  'S/m': { 'mS/cm': 0.1, 'uS/cm': 1e-4 },
};
/** Alone in their dimension. */
const SINGLE = 'cd mol sr Wb lm Bq Gy Sv kat cd/m2 lat lon pH dB Bspl count %RH %EL EL beats NTU'.split(' ');

const CONVERSIONS: ReadonlyMap<string, Conversion> = new Map([
  ...SINGLE.map((unit): [string, Conversion] => [unit, { dimension: unit, factor: 1, offset: 0 }]),
  ...Object.entries(DIMENSIONS).flatMap(([dimension, others]): [string, Conversion][] => [
    [dimension, { dimension, factor: 1, offset: 0 }],
    ...Object.entries(others).map(([unit, conversion]): [string, Conversion] => {
      const [factor, offset] = typeof conversion === 'number' ? [conversion, 0] : conversion;
      return [unit, { dimension, factor, offset }];
    }),
  ]),
]);

/** All units that can be converted to this one, each with value × factor + offset; null for a unit that nobody knows. */
export function unitsTo(target: string): { unit: string; factor: number; offset: number }[] | null {
  const to = CONVERSIONS.get(target);
  if (to === undefined) return null;
  return [...CONVERSIONS]
    .filter(([, { dimension }]) => dimension === to.dimension)
    .map(([unit, { factor, offset }]) =>
      unit === target
        ? { unit, factor: 1, offset: 0 }
        : { unit, factor: factor / to.factor, offset: (offset - to.offset) / to.factor },
    );
}
