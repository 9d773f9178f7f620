module github.com/nogap-go/nogap

go 1.25.0

require (
	github.com/go-redsync/redsync/v4 v4.16.0
	github.com/jmoiron/sqlx v1.3.5
	github.com/redis/go-redis/v9 v9.21.0
	github.com/stretchr/testify v1.10.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/davecgh/go-spew v1.1.1 // indirect
	github.com/hashicorp/errwrap v1.1.0 // indirect
	github.com/hashicorp/go-multierror v1.1.1 // indirect
	github.com/pmezard/go-difflib v1.0.0 // indirect
	go.uber.org/atomic v1.11.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)
