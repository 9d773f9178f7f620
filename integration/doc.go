// Package integration is the module of the tests that need real servers. Package servers starts them, package matrix
// lists the databases and drivers, and the other packages test one package of nogap each, on all of them.
//
// It is a module of its own so that no service that imports nogap gets the drivers with it.
package integration
