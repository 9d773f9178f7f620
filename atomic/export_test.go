package atomic

// For the external tests of what has no exported face.
var Sign = sign
