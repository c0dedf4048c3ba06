/** Functions that statements may use, by group, as documented. What is not here is refused: what reads tables, files,
 *  dictionaries, settings or the server by itself; what takes other functions by name; what waits, or makes data of its own
 *  without end; states of aggregate functions, which are read without being checked.
 *  @source ClickHouse 26.7 `system.functions` */
const words = (text: string): readonly string[] => text.trim().split(/\s+/);

const FUNCTIONS = {
  logic: words(`and or not xor if multiIf caseWithExpression ifNull nullIf coalesce isNull isNotNull assumeNotNull
    toNullable isZeroOrNull firstNonDefault`),
  comparison:
    words(`equals notEquals less greater lessOrEquals greaterOrEquals isDistinctFrom isNotDistinctFrom in notIn
    globalIn globalNotIn nullIn notNullIn globalNullIn globalNotNullIn exists greatest least`),
  arithmetic: words(`plus minus multiply divide negate abs sign isNaN isFinite isInfinite ifNotFinite divideOrNull
    intDivOrZero intDivOrNull moduloOrZero moduloOrNull positiveModuloOrNull intDiv modulo positiveModulo gcd
    lcm bitAnd bitOr bitXor bitNot bitShiftLeft bitShiftRight bitTest bitCount max2 min2 factorial
    widthBucket divideDecimal multiplyDecimal byteSwap clamp midpoint`),
  mathematics:
    words(`sqrt cbrt exp exp2 exp10 log ln log2 log10 log1p pow power sin cos tan asin acos atan atan2 sinh cosh
    tanh asinh acosh atanh hypot degrees radians erf erfc lgamma tgamma sigmoid pi e`),
  rounding: words(`round floor ceil ceiling trunc truncate roundBankers roundToExp2 roundDuration roundAge`),
  dates: words(`toStartOfSecond toStartOfMinute toStartOfFiveMinutes toStartOfTenMinutes toStartOfFifteenMinutes
    toStartOfHour toStartOfDay toStartOfWeek toStartOfMonth toStartOfQuarter toStartOfYear toStartOfISOYear
    toStartOfInterval toMonday toLastDayOfMonth toLastDayOfWeek toYear toQuarter toMonth toDayOfMonth
    toDayOfWeek toDayOfYear toHour toMinute toSecond toMillisecond toISOWeek toISOYear toWeek toYearWeek
    toYYYYMM toYYYYMMDD toYYYYMMDDhhmmss toUnixTimestamp dateDiff date_diff age dateName monthName toTimezone
    timezone timezoneOf timezoneOffset now now64 today yesterday toUnixTimestamp64Milli
    toUnixTimestamp64Micro toUnixTimestamp64Nano toUnixTimestamp64Second dateTrunc timeSlot toDaysInMonth
    toMonthNumSinceEpoch toYearNumSinceEpoch toRelativeDayNum toRelativeHourNum toRelativeMinuteNum
    toRelativeMonthNum toRelativeSecondNum toRelativeWeekNum toRelativeYearNum addNanoseconds addMicroseconds
    addMilliseconds addSeconds addMinutes addHours addDays addWeeks addMonths addQuarters addYears
    addInterval subtractNanoseconds subtractMicroseconds subtractMilliseconds subtractSeconds subtractMinutes
    subtractHours subtractDays subtractWeeks subtractMonths subtractQuarters subtractYears subtractInterval
    formatDateTime formatDateTimeInJodaSyntax parseDateTime parseDateTimeBestEffort parseDateTime64BestEffort
    fromUnixTimestamp fromUnixTimestamp64Milli fromUnixTimestamp64Micro fromUnixTimestamp64Nano
    fromUnixTimestamp64Second makeDate makeDateTime makeDateTime64 toStartOfMillisecond toStartOfMicrosecond
    toStartOfNanosecond timeSlots UUIDv7ToDateTime changeYear changeMonth changeDay changeHour changeMinute
    changeSecond`),
  intervals: words(`toIntervalNanosecond toIntervalMicrosecond toIntervalMillisecond toIntervalSecond toIntervalMinute
    toIntervalHour toIntervalDay toIntervalWeek toIntervalMonth toIntervalQuarter toIntervalYear`),
  strings: words(`empty notEmpty length lengthUTF8 lower upper lowerUTF8 upperUTF8 startsWith endsWith position
    positionCaseInsensitive positionUTF8 like notLike ilike notILike concat substring substringUTF8 left
    right leftUTF8 rightUTF8 trimBoth trimLeft trimRight reverse hex domain concatWithSeparator format printf
    replaceOne replaceAll replace replaceRegexpOne replaceRegexpAll match extract extractAll extractGroups
    extractAllGroups regexpExtract splitByChar splitByString splitByRegexp splitByWhitespace splitByNonAlpha
    arrayStringConcat multiSearchAny multiSearchAnyCaseInsensitive multiSearchFirstIndex countSubstrings
    countSubstringsCaseInsensitive countMatches substringIndex leftPad rightPad leftPadUTF8 rightPadUTF8
    reverseUTF8 translate initcap ascii base64Encode base64Decode tryBase64Decode base64URLEncode
    base64URLDecode unhex bin unbin char toValidUTF8 isValidUTF8 isValidASCII ngramDistance ngramSearch
    editDistance damerauLevenshteinDistance jaroWinklerSimilarity hasToken hasTokenCaseInsensitive
    hasSubsequence overlay soundex formatReadableSize formatReadableQuantity formatReadableTimeDelta
    formatReadableDecimalSize bar encodeURLComponent decodeURLComponent repeat space`),
  conversion:
    words(`toFloat64OrNull toFloat64OrZero toFloat32OrNull toFloat32OrZero toInt8OrNull toInt16OrNull toInt32OrNull
    toInt64OrNull toInt8OrZero toInt16OrZero toInt32OrZero toInt64OrZero toUInt8OrNull toUInt16OrNull
    toUInt32OrNull toUInt64OrNull toUInt8OrZero toUInt16OrZero toUInt32OrZero toUInt64OrZero toDateOrNull
    toDateTimeOrNull toDateTime64OrNull parseDateTimeBestEffortOrNull parseDateTime64BestEffortOrNull
    toUUIDOrNull toIPv4OrNull toIPv6OrNull toString toTypeName CAST _CAST accurateCast accurateCastOrNull
    toBool toInt8 toInt16 toInt32 toInt64 toInt128 toInt256 toUInt8 toUInt16 toUInt32
    toUInt64 toUInt128 toUInt256 toFloat32 toFloat64 toDecimal32 toDecimal64 toDecimal128 toDecimal256
    toDecimal32OrNull toDecimal64OrNull toDecimal128OrNull toDecimalString toDate toDate32 toDateTime
    toDateTime32 toDateTime64 toUUID toFixedString toLowCardinality toIPv4 toIPv6 IPv4NumToString
    IPv4StringToNum isIPv4String isIPv6String isIPAddressInRange reinterpretAsUInt8 reinterpretAsUInt16
    reinterpretAsUInt32 reinterpretAsUInt64 reinterpretAsInt8 reinterpretAsInt16 reinterpretAsInt32
    reinterpretAsInt64 reinterpretAsFloat32 reinterpretAsFloat64 reinterpretAsString UUIDStringToNum
    UUIDNumToString transform defaultValueOfArgumentType`),
  JSON: words(`JSONHas JSONLength JSONKey JSONType JSONExtractString JSONExtractInt JSONExtractUInt JSONExtractFloat
    JSONExtractBool JSONExtractRaw JSONExtractKeys isValidJSON JSONExtract JSONExtractArrayRaw
    JSONExtractKeysAndValues JSONExtractKeysAndValuesRaw JSONArrayLength JSON_VALUE JSON_QUERY JSON_EXISTS
    toJSONString simpleJSONExtractString simpleJSONExtractInt simpleJSONExtractUInt simpleJSONExtractFloat
    simpleJSONExtractBool simpleJSONExtractRaw simpleJSONHas`),
  hashing: words(`cityHash64 sipHash64 xxHash64 xxh3 intHash64 MD5 SHA1 SHA224 SHA256 SHA512 CRC32 murmurHash3_32
    murmurHash3_64 javaHash halfMD5 farmHash64 metroHash64 xxHash32 intHash32`),
  tuples: words(`tuple tupleElement identity materialize untuple tuplePlus tupleMinus tupleMultiply tupleDivide
    tupleNegate dotProduct L1Distance L2Distance LinfDistance cosineDistance L2Norm flattenTuple tupleConcat
    tupleNames`),
  arrays: words(`array arrayElement arrayElementOrNull has hasAll hasAny hasSubstr indexOf countEqual arrayConcat
    arraySlice arrayReverse arraySort arrayReverseSort arrayPartialSort arrayDistinct arrayUniq
    arrayIntersect arrayUnion arrayExcept arrayEnumerate arrayEnumerateUniq arrayEnumerateDense arrayJoin
    arrayMap arrayFilter arrayCount arrayExists arrayAll arrayFirst arrayFirstOrNull arrayLast
    arrayLastOrNull arrayFirstIndex arrayLastIndex arraySum arrayAvg arrayMin arrayMax arrayProduct
    arrayCumSum arrayCumSumNonNegative arrayDifference arrayFill arrayReverseFill arraySplit
    arrayReverseSplit arrayCompact arrayZip arrayFlatten flatten arrayPushBack arrayPushFront arrayPopBack
    arrayPopFront arrayResize arrayRotateLeft arrayRotateRight arrayShiftLeft arrayShiftRight arrayFold
    arrayAUC arrayDotProduct arrayWithConstant arrayJaccardIndex arrayTranspose arrayAutocorrelation range
    lambda emptyArrayToSingle`),
  maps: words(`map mapFromArrays mapKeys mapValues mapContains mapContainsKey mapFilter mapApply mapAdd mapSubtract
    mapSort mapUpdate mapConcat mapExists mapAll`),
  'time series':
    words(`seriesDecomposeSTL seriesOutliersDetectTukey seriesPeriodDetectFFT timeSeriesRange timeSeriesFromGrid
    tumble tumbleStart tumbleEnd hop hopStart hopEnd`),
  geography: words(`greatCircleDistance geoDistance greatCircleAngle pointInPolygon pointInEllipses geohashEncode
    geohashDecode geoToH3`),
} as const;

const AGGREGATE =
  words(`count sum avg min max any anyLast anyHeavy first_value last_value argMin argMax argAndMin argAndMax
  uniq uniqExact uniqCombined uniqCombined64 uniqHLL12 uniqUpTo sumWithOverflow sumKahan sumCount sumMap minMap maxMap
  avgWeighted median medianExact medianTDigest medianDeterministic medianTiming medianBFloat16 quantile quantiles
  quantileExact quantilesExact quantileExactLow quantileExactHigh quantileExactInclusive quantilesExactInclusive
  quantileExactExclusive quantilesExactExclusive quantileExactWeighted quantilesExactWeighted quantileTDigest
  quantilesTDigest quantileTDigestWeighted quantilesTDigestWeighted quantileTiming quantilesTiming
  quantileInterpolatedWeighted quantilesInterpolatedWeighted quantileDeterministic quantileBFloat16 quantileGK
  quantilesGK quantileDD quantilesDD stddevPop stddevSamp stddevPopStable stddevSampStable varPop varSamp varPopStable
  varSampStable STDDEV_POP STDDEV_SAMP VAR_POP VAR_SAMP covarPop covarSamp covarPopStable covarSampStable corr
  corrStable corrMatrix skewPop skewSamp kurtPop kurtSamp entropy simpleLinearRegression groupArray groupUniqArray
  groupArraySample groupArraySorted groupArrayLast groupArrayInsertAt groupArrayMovingSum groupArrayMovingAvg
  groupConcat groupBitAnd groupBitOr groupBitXor topK topKWeighted approx_top_k approx_top_sum histogram deltaSum
  deltaSumTimestamp boundingRatio exponentialMovingAverage exponentialTimeDecayedAvg exponentialTimeDecayedSum
  exponentialTimeDecayedMax exponentialTimeDecayedCount largestTriangleThreeBuckets lttb maxIntersections
  maxIntersectionsPosition intervalLengthSum rankCorr studentTTest welchTTest mannWhitneyUTest kolmogorovSmirnovTest
  meanZTest cramersV theilsU contingency retention windowFunnel sequenceMatch sequenceCount sparkbar
  singleValueOrNull timeSeriesRateToGrid timeSeriesDeltaToGrid timeSeriesDerivToGrid timeSeriesIncreaseToGrid
  timeSeriesResampleToGridWithStaleness timeSeriesGroupArray timeSeriesChangesToGrid timeSeriesResetsToGrid
  grouping`);
const WINDOW = words(`row_number rank dense_rank denseRank percent_rank percentRank cume_dist ntile lag lead lagInFrame
  leadInFrame nth_value nonNegativeDerivative`);
const COMBINATOR = /^(.+?)(?:If|Array|Distinct|OrNull|OrDefault|ForEach|ArgMin|ArgMax)$/;

const lowered = (names: readonly string[]): Set<string> => new Set(names.map((name) => name.toLowerCase()));
const plain = lowered(Object.values(FUNCTIONS).flat());
const aggregate = lowered([...AGGREGATE, ...WINDOW]);

const isAggregate = (name: string): boolean => {
  for (let rest: string | undefined = name; rest !== undefined; rest = COMBINATOR.exec(rest)?.[1])
    if (aggregate.has(rest.toLowerCase())) return true;
  return false;
};

export const isAllowed = (name: string): boolean => plain.has(name.toLowerCase()) || isAggregate(name);

/** For who completes words, and the documentation. */
export function functionGroups(): Record<string, string[]> {
  const groups: Record<string, string[]> = {};
  for (const [group, names] of Object.entries(FUNCTIONS))
    groups[group] = names.filter((name) => !INTERNAL.has(name)).sort();
  groups.aggregates = [...AGGREGATE].sort();
  groups.windows = [...WINDOW].sort();
  return groups;
}
const INTERNAL = new Set(['_CAST', 'lambda', 'caseWithExpression', 'exists']);
